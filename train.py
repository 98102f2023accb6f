"""Train a model: `python train.py data=ravdess data.root=DIR protocol=luna5 seed=1`. See README.md."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from emotion.entry import command_line
from emotion.errors import one_line_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float:
    """Train with the composed configuration; returns the dev figure that sweeps optimise."""
    from pathlib import Path

    from emotion.tasks import train

    job = HydraConfig.get()
    with one_line_errors():  # within the job, or Hydra adds lines of its own
        return train(config, Path(job.runtime.output_dir), list(job.overrides.task))


if __name__ == "__main__":
    with command_line("train"):
        main()
