"""Train a model: `python train.py data=ravdess data.root=DIR protocol=luna5 seed=1`. See README.md."""

from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from emotion.entry import command_line
from emotion.errors import one_line_errors
from emotion.sweeps import summarised


@hydra_main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float:
    """Train with the composed configuration; returns the dev figure that sweeps optimise."""
    from pathlib import Path

    from emotion import sweeps, tasks

    hydra = HydraConfig.get()
    run_dir, overrides = Path(hydra.runtime.output_dir), list(hydra.overrides.task)
    if hydra.mode == RunMode.MULTIRUN:
        return sweeps.train_job(config, run_dir, overrides, hydra.job.num)
    with one_line_errors():  # within the job, or Hydra adds lines of its own
        return tasks.train(config, run_dir, overrides)


if __name__ == "__main__":
    with command_line("train"), summarised():
        main()
