"""Sweeps: many trainings in one command, in which a failed job does not stop the others."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from emotion import runs
from emotion.config.compose import key_of, quoted
from emotion.config.validate import validate
from emotion.errors import TRACEBACK_VARIABLE, EmotionError, one_line_errors
from emotion.files import write_text

log = logging.getLogger(__name__)

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
_started: list[Path] = []  # directory of the sweep that this process started


class Sweep(Callback):
    """Hydra callback that claims a new directory for each run and sweep."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Claim the directory of a run, before Hydra creates it."""
        if "run" not in config and not any(os.environ.get(name, "0") != "0" for name in _RANKS):
            with one_line_errors():  # Hydra turns exceptions of callbacks into warnings
                _check(config)
                if _is_by_default(config, "hydra.run.dir"):
                    _set(config, "hydra.run.dir", runs.claim_new(Path(config.hydra.run.dir)))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Claim the directory of a sweep, before its first job."""
        with one_line_errors():
            if _is_by_default(config, "hydra.sweep.dir"):
                _set(config, "hydra.sweep.dir", runs.claim_new(Path(config.hydra.sweep.dir)))
        folder, storage = Path(config.hydra.sweep.dir), str(OmegaConf.select(config, "hydra.sweeper.storage") or "")
        if storage.startswith("sqlite:///"):
            database = Path(storage.removeprefix("sqlite:///"))
            database.parent.mkdir(parents=True, exist_ok=True)  # SQLite creates files, but not folders
            if database.parent in folder.parents:
                folder = database.parent  # so that the summary includes earlier trials of the search
        _started.append(folder)


def _check(config: DictConfig) -> None:
    """Refuse invalid values and unavailable devices, before a directory is created."""
    trainer = validate(config).trainer
    typed = [key_of(override) for override in config.hydra.overrides.task]
    if trainer.accelerator in ("gpu", "cuda") or any(key.startswith("trainer.") for key in typed):
        from emotion.training.fit import require_device

        require_device(trainer)


def _is_by_default(config: DictConfig, key: str) -> bool:
    """Return True if the directory of a run or sweep is the default."""
    typed = [key_of(override) for override in [*config.hydra.overrides.task, *config.hydra.overrides.hydra]]
    return not {"run_dir", "resume", key} & set(typed)


def _set(config: DictConfig, key: str, path: Path) -> None:
    """Change a directory in a composed configuration, and in those of its jobs."""
    with read_write(config.hydra), open_dict(config.hydra):
        OmegaConf.update(config, key, str(path))
        config.hydra.overrides.hydra.append(f"{key}={quoted(str(path))}")


@contextmanager
def sweep_summary() -> Iterator[None]:
    """Print a summary of the jobs at the end of a sweep, also after errors and interruptions.

    Raises:
        EmotionError: no job finished, or some failed.
    """
    _started.clear()  # of an earlier command in the same process
    try:
        yield
    except EmotionError:
        _print_summary()  # the error of a failed job is raised after all jobs
        raise
    except Exception as error:
        if _print_summary() is not False:
            raise
        raise EmotionError(f"no job of this sweep finished: {' '.join(str(error).split())}") from error
    except BaseException:  # interrupted
        _print_summary()
        raise
    else:
        _print_summary()


def _print_summary() -> bool | None:
    """Print the status of the jobs; return True if any finished, or None if this is not a sweep."""
    if not _started:
        return None
    from emotion.reports.trials import read_trials, summarise

    try:
        print(summarise(_started[:1]))
    except EmotionError as error:
        print(error)
        return False
    return bool((read_trials(_started[:1])["status"] == "finished").any())


def train_job(config: DictConfig, run_dir: Path, overrides: list[str], number: int) -> float:
    """Train as one job of a sweep; an error is logged, written to `error.txt`, and raised.

    Args:
        config: Composed configuration of the job.
        run_dir: Its run directory.
        overrides: Its overrides.
        number: Its number, from 0.

    Returns:
        See `emotion.pipelines.train.train`.

    Raises:
        EmotionError: the training failed.
    """
    _train_alone(run_dir, overrides)
    try:
        _one_gpu(config, number)
        from emotion.pipelines.train import train

        return train(config, run_dir, overrides, hints=False)
    except runs.DirectoryTakenError:
        raise  # the directory holds another run
    except Exception as error:
        expected = isinstance(error, EmotionError) and not os.environ.get(TRACEBACK_VARIABLE)
        message = str(error) if expected else traceback.format_exc()
        log.error("job %s failed: %s", run_dir.name, message)
        runs.write_overrides(run_dir, overrides)
        write_text(run_dir / "error.txt", message.strip() + "\n")
        # The original traceback would keep the memory of the job alive.
        raise EmotionError(str(error) or type(error).__name__) from None


def _train_alone(run_dir: Path, overrides: list[str]) -> None:
    """Make processes that Lightning starts, which run the command again, do this job instead of the whole sweep."""
    sys.argv = [sys.argv[0], *overrides, f"run_dir={quoted(str(run_dir))}"]
    job = cast(DictConfig, HydraConfig.get())
    with read_write(job), open_dict(job):
        job.run.dir = str(run_dir)


def _one_gpu(config: DictConfig, number: int) -> None:
    """Assign one of several GPUs to a job that uses a single one.

    Jobs that run side by side are in processes of their own, each of which keeps the GPU of its first job.
    """
    if config.trainer.accelerator not in ("gpu", "cuda") or config.trainer.devices != 1:
        return
    import torch

    devices = torch.cuda.device_count()
    if devices > 1 and not torch.cuda.is_initialized():
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = shown.split(",") if shown else [str(device) for device in range(devices)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]


OmegaConf.register_new_resolver(
    "direction", lambda monitor: "minimize" if runs.lower_is_better(monitor) else "maximize", replace=True
)
OmegaConf.register_new_resolver("at_once", lambda jobs: jobs if jobs > 0 else os.cpu_count() or 1, replace=True)
