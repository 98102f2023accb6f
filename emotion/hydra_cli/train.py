"""`python train.py` and `emotion train`: train a model with a composed configuration."""

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from emotion.config.compose import DIRECTORY
from emotion.errors import one_line_errors
from emotion.hydra_cli.command_line import command_line
from emotion.sweeps import sweep_summary


@hydra.main(version_base="1.3", config_path=str(DIRECTORY), config_name="train")
def _train(config: DictConfig) -> float:
    """Train with the composed configuration; return the dev metric that sweeps optimise."""
    from pathlib import Path

    from emotion import sweeps
    from emotion.pipelines.train import train

    job = HydraConfig.get()
    run_dir, overrides = Path(job.runtime.output_dir), list(job.overrides.task)
    if job.mode == RunMode.MULTIRUN:
        return sweeps.train_job(config, run_dir, overrides, job.job.num)
    with one_line_errors():  # inside the job, since Hydra would add lines
        return train(config, run_dir, overrides)


def main() -> None:
    """Run the command line."""
    with command_line("train"), sweep_summary():
        _train()


if __name__ == "__main__":
    main()
