"""Fit a classifier on the train split and select the epoch on dev, with Lightning."""

import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.loggers import Logger
from torch import distributed

from emotion.config.schema import OptimizerConfig, SchedulerConfig, TrainerConfig, TrainingConfig
from emotion.config.target import Target, instantiate
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import EmotionError, error_message, is_not_writable, shown_command, suggest
from emotion.models.base import Classifier
from emotion.models.build import checkpoint_state, checkpoint_weights
from emotion.training.build import build_module
from emotion.training.calibration import calibrate
from emotion.training.callbacks import (
    AtomicCheckpoints,
    FirstEpoch,
    ReseedEachEpoch,
    StagedLearning,
    build_callbacks,
    weight_averaging,
)
from emotion.training.module import EmotionModule
from emotion.training.process import process_rank
from emotion.training.refit import keep_initial_weights, refit, restore_selected

log = logging.getLogger(__name__)

_OF_PROCESSES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
"""Environment variables that Lightning sets for the processes of a fit."""


@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit.

    Attributes:
        training: Loss, and selection of the epoch.
        trainer: Arguments of the Lightning trainer.
        optimizer: Optimiser.
        scheduler: Learning-rate scheduler.
        augment: Augmentations by name; `Mixup` is applied to whole batches.
        seed: Seed of everything random.
        run_dir: Run directory, which receives `checkpoints/` and `tensorboard/`.
        resume_from: Checkpoint of the same run from which training continues, or None.
        on_first_epoch: Called in the main process when the first epoch is finished, before its checkpoint is written.
        loggers: Loggers, in the main process.
        callbacks: Further callbacks by name.
    """

    training: TrainingConfig
    trainer: TrainerConfig
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    augment: Mapping[str, Target]
    seed: int
    run_dir: Path
    resume_from: Path | None = None
    on_first_epoch: Callable[[], None] | None = None
    loggers: Sequence[Logger] = ()
    callbacks: Mapping[str, Target] = field(default_factory=dict)

    @property
    def of_module(self) -> tuple[TrainingConfig, OptimizerConfig, SchedulerConfig, Mapping[str, Target]]:
        """The settings of `build_module`, in its order."""
        return self.training, self.optimizer, self.scheduler, self.augment


@dataclass(frozen=True)
class Fitted:
    """The result of a fit.

    Attributes:
        epochs: Number of epochs, including those before an interruption.
        seconds: Duration, including that before an interruption.
        is_main: False in the helper processes of a distributed fit.
        temperature: Temperature by which the logits were divided, see `emotion.training.calibration`, or None.
        refit: Function that fits the classifier on train and dev, to be called once dev has been evaluated, or None.
    """

    epochs: int
    seconds: float
    is_main: bool
    temperature: float | None = None
    refit: Callable[[], None] | None = None


def fit(
    settings: FitSettings,
    classifier: Classifier,
    datamodule: EmotionDataModule,
    module: EmotionModule | None = None,
) -> Fitted:
    """Train a classifier and load the weights of the best epoch into it.

    Args:
        settings: Settings of the fit.
        classifier: Changed in place.
        datamodule: Set up already.
        module: Lightning module; an `EmotionModule` by default.

    Raises:
        EmotionError: the device is not available, the run directory cannot be written, or training diverged.
    """
    require_device(settings.trainer)
    run_dir, checkpoints = settings.run_dir, settings.run_dir / "checkpoints"
    refits = settings.training.refit
    if refits and settings.trainer.devices not in (1, "auto"):
        raise EmotionError("training.refit=true needs one device: set trainer.devices=1")
    restore_selected(checkpoints)
    if not classifier.is_trainable:
        if refits:
            raise EmotionError("training.refit=true: nothing is trained, since all weights come from finished runs")
        return _kept(classifier, checkpoints)
    if refits:
        keep_initial_weights(classifier, checkpoints, settings.resume_from is not None)
    timer = Timer()  # its time is kept in checkpoints
    trainer = _trainer(settings, timer)
    if settings.training.compile:
        compile_networks(classifier)
    before = os.environ.copy()
    try:
        with _explained(run_dir):
            module = module or build_module(classifier, datamodule, *settings.of_module)
            trainer.fit(module, datamodule, ckpt_path=settings.resume_from, weights_only=True)
    finally:
        _leave_processes(before)
    is_main = trainer.is_global_zero
    temperature = _load_best(settings, classifier, datamodule) if is_main else None
    train_on_both = partial(_train_on_both, settings, classifier, datamodule)
    again = partial(refit, classifier, checkpoints, temperature, train_on_both) if refits else None
    return Fitted(trainer.current_epoch, timer.time_elapsed(), is_main, temperature, again)


@contextmanager
def _explained(run_dir: Path) -> Iterator[None]:
    """Turn what Lightning raises for an interruption, a full disk or a wrong option into what this package raises."""
    try:
        yield
    except SystemExit:  # Lightning raises it on Ctrl-C
        if (run_dir / "checkpoints" / "last.ckpt").exists():
            log.info("continue with: %s", shown_command("train", f"resume={run_dir}"))
        raise KeyboardInterrupt from None
    except OSError as error:
        if not is_not_writable(error):
            raise
        raise EmotionError(
            f"cannot write to {run_dir}: {error.strerror or error}; free space, then continue with "
            f"{shown_command('train', f'resume={run_dir}')}"
        ) from error
    except MisconfigurationException as error:
        raise EmotionError(error_message(error)) from error


def _train_on_both(settings: FitSettings, classifier: Classifier, datamodule: EmotionDataModule, epochs: int) -> None:
    """Train on train and dev for a number of epochs, without an evaluation."""
    joined = datamodule.with_dev_in_train()
    averaging = weight_averaging(settings.training.ema_decay, settings.training.swa_first_epoch)
    callbacks = [ReseedEachEpoch(settings.seed), StagedLearning(), *averaging]
    arguments: dict[str, Any] = settings.trainer.arguments() | {"max_epochs": epochs, "limit_val_batches": 0}
    trainer = pl.Trainer(
        **arguments,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(build_module(classifier, joined, *settings.of_module), joined)


def _load_best(settings: FitSettings, classifier: Classifier, datamodule: EmotionDataModule) -> float | None:
    """Load the weights of the best epoch into the classifier and calibrate it; return the temperature, if any."""
    best = settings.run_dir / "checkpoints" / "best.ckpt"
    if not best.exists():
        raise EmotionError(f"no epoch was finished, so there is no {best}; raise trainer.max_epochs")
    classifier.load_state_dict(checkpoint_weights(AtomicCheckpoints().load_checkpoint(best)))
    if not settings.training.calibrate:
        return None
    factor = settings.training.temperature_factor
    return calibrate(classifier, datamodule.batches("dev"), device_of(settings.trainer), best, factor)


def _trainer(settings: FitSettings, timer: Timer) -> pl.Trainer:
    """Build the Lightning trainer, which writes to the run directory."""
    training, run_dir = settings.training, settings.run_dir
    callbacks = build_callbacks(
        run_dir / "checkpoints",
        settings.seed,
        training.monitor,
        training.patience,
        weight_averaging(training.ema_decay, training.swa_first_epoch),
        sys.stderr.isatty(),
    )
    if settings.on_first_epoch:
        callbacks.append(FirstEpoch(settings.on_first_epoch))  # Lightning calls checkpoint callbacks last
    callbacks += [instantiate(target, pl.Callback) for target in settings.callbacks.values()]
    quiet_lightning()
    return pl.Trainer(
        **settings.trainer.arguments(),
        use_distributed_sampler=False,  # the data module distributes recordings itself, without repeats
        callbacks=[*callbacks, timer],
        plugins=[AtomicCheckpoints()],
        logger=list(settings.loggers),
        default_root_dir=run_dir,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
    )


def compile_networks(classifier: Classifier) -> None:
    """Compile the networks of a classifier for batches of any length; fall back to eager mode on errors."""
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True
    # torch documents `torch._logging.set_logs` under this name alone.
    torch._logging.set_logs(dynamo=logging.CRITICAL, inductor=logging.CRITICAL)  # pyright: ignore[reportPrivateImportUsage]
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # of CUDA, on machines without it
    for encoder in classifier.encoders:
        encoder.backbone.compile(dynamic=True)


def _leave_processes(environment: Mapping[str, str]) -> None:
    """Reset the environment after a distributed fit, so that the next job of a sweep starts its own processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
    for name in _OF_PROCESSES:
        os.environ.pop(name, None)
        if name in environment:
            os.environ[name] = environment[name]


def _kept(classifier: Classifier, checkpoints: Path) -> Fitted:
    """Write the checkpoint of a classifier that has nothing to train."""
    log.info("nothing to train: all weights come from finished runs")
    AtomicCheckpoints().save_checkpoint({"state_dict": checkpoint_state(classifier)}, checkpoints / "best.ckpt")
    return Fitted(0, 0.0, process_rank() == 0)


def require_device(trainer: TrainerConfig) -> None:
    """Refuse unknown arguments of Lightning, and an accelerator that is not available.

    Args:
        trainer: Arguments of the Lightning trainer.

    Raises:
        EmotionError: a key is unknown, or torch finds fewer GPUs than requested.
    """
    known = inspect.signature(pl.Trainer).parameters
    if unknown := [key for key in trainer.arguments() if key not in known]:
        raise EmotionError(f"unknown key trainer.{unknown[0]}: {suggest(unknown[0], known)}")
    if not _is_gpu(trainer):
        return
    if not torch.cuda.is_available():
        asked = f"trainer.accelerator={trainer.accelerator}"
        raise EmotionError(f"{asked}: torch finds no CUDA device; use trainer=cpu")
    here = torch.cuda.device_count()
    if isinstance(trainer.devices, int) and trainer.devices > here:
        raise EmotionError(f"trainer.devices={trainer.devices}: torch finds only {here} GPUs; lower trainer.devices")


def device_of(trainer: TrainerConfig) -> torch.device:
    """Return the device for computations outside of Lightning, such as predictions."""
    return torch.device("cuda" if _is_gpu(trainer) and torch.cuda.is_available() else "cpu")


def _is_gpu(trainer: TrainerConfig) -> bool:
    return trainer.accelerator in ("gpu", "cuda")


def quiet_lightning() -> None:
    """Silence messages and warnings of Lightning that do not apply here."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Batches are gathered from memory in one copy; worker processes would be slower.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen on purpose
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # metrics are already of all processes
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
