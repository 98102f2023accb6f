"""`python evaluate.py` and `emotion evaluate`: evaluate a finished run on one of its splits, or on another corpus."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from emotion.config.compose import DIRECTORY
from emotion.errors import one_line_errors
from emotion.hydra_cli.command_line import command_line


@hydra.main(version_base="1.3", config_path=str(DIRECTORY), config_name="evaluate")
def _evaluate(config: DictConfig) -> None:
    """Evaluate with the run's own configuration."""
    from emotion.pipelines.evaluate import evaluate

    with one_line_errors():  # inside the job, since Hydra would add lines
        evaluate(config, list(HydraConfig.get().overrides.task))


def main() -> None:
    """Run the command line."""
    with command_line("evaluate"):
        _evaluate()


if __name__ == "__main__":
    main()
