"""Judge a finished run on one of its splits, or on another corpus: `python evaluate.py run=RUN_DIR`. See README.md."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from emotion.entry import command_line
from emotion.errors import one_line_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Evaluate with the run's own configuration."""
    from emotion.tasks import evaluate

    with one_line_errors():  # within the job, or Hydra adds lines of its own
        evaluate(config, list(HydraConfig.get().overrides.task))


if __name__ == "__main__":
    with command_line("evaluate"):
        main()
