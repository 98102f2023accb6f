"""Callbacks of a fit: seeding, staged freezing, checkpoints."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
    WeightAveraging,
)

from emotion.data.sampler import epoch_seed
from emotion.files import atomic_path

if TYPE_CHECKING:
    from emotion.training.module import EmotionModule


class ReseedEachEpoch(pl.Callback):
    """A callback that seeds torch at every epoch, so that a resumed fit equals an uninterrupted one.

    Lightning's checkpoints hold no state of random-number generators.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed every device; ranks differ, so that they draw different masks."""
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch) + 7_919 * trainer.global_rank)


class StagedLearning(pl.Callback):
    """A callback that freezes and unfreezes encoders by the number of the epoch, in a resumed fit too."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the epoch of the encoders."""
        for encoder in cast("EmotionModule", pl_module).classifier.encoders:
            encoder.start_epoch(trainer.current_epoch)
        pl_module.train()


class StochasticWeightAveraging(WeightAveraging):
    """A callback that averages the weights of the last epochs equally (Izmailov et al., 2018).

    https://arxiv.org/abs/1803.05407. Statistics of batch normalisation are averaged too. Before the first of these
    epochs, the weights are those of the latest epoch.

    Args:
        first_epoch: Number of the first averaged epoch, from 1.
    """

    def __init__(self, first_epoch: int) -> None:
        super().__init__()
        self.first_epoch = first_epoch

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the weights after the last batch of an epoch, before dev is predicted with the mean."""
        average = self._average_model
        if average is None or not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if trainer.current_epoch + 1 <= self.first_epoch:
            average.n_averaged.zero_()  # the next update copies the weights
        average.update_parameters(pl_module)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return False, since updates follow the last batch of an epoch."""
        return False


class GradientNorm(pl.Callback):
    """A callback that logs the norm of the gradient before clipping, of the whole model and of each of its parts."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the norms; the parts are the front end, backbone and head, or the branches of a fusion."""
        squares: dict[str, torch.Tensor] = {}
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                part = "/".join(name.split(".")[1:3]) if ".head." not in name else "head"
                squares[part] = squares.get(part, 0.0) + parameter.grad.detach().float().square().sum()
        pl_module.log_dict({f"gradient_norm/{part}": square.sqrt() for part, square in squares.items()})
        pl_module.log("gradient_norm", torch.stack(list(squares.values())).sum().sqrt())


class FirstEpoch(pl.Callback):
    """A callback that calls a function in the main process when the first epoch of a fit is finished.

    Args:
        call: The function.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Call the function once."""
        if self._call and trainer.is_global_zero:
            self._call()
        self._call = None


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoint files that are written atomically, and read without executing anything."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None) -> None:
        """Write to a temporary file beside `path`, then rename it."""
        content = io.BytesIO()  # torch hides errors of the disk, such as a full one
        torch.save(checkpoint, content)
        with atomic_path(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(self, path: str | os.PathLike, *_: Any, **__: Any) -> dict[str, Any]:
        """Load tensors and plain data."""
        return torch.load(path, map_location="cpu", weights_only=True)


class RunCheckpoint(ModelCheckpoint):
    """A callback that keeps the checkpoint of the best or the latest epoch; the run directory may be moved.

    Args:
        directory: Directory of the checkpoint.
        name: Name of the file, without `.ckpt`.
        monitor: Metric that selects the best epoch, or None for the latest epoch.
    """

    def __init__(self, directory: Path, name: str, monitor: str | None = None) -> None:
        super().__init__(
            directory,
            filename=name,
            monitor=monitor,
            mode="max" if monitor and not monitor.endswith("loss") else "min",
            auto_insert_metric_name=False,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replace the paths in the checkpoint by paths in the present directory."""
        here = Path(cast(str, self.dirpath))
        moved: dict[str, Any] = {"dirpath": str(here)}
        for key in ("best_model_path", "kth_best_model_path"):
            moved[key] = str(here / Path(state_dict[key]).name) if state_dict.get(key) else ""
        moved["best_k_models"] = {str(here / Path(k).name): v for k, v in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved)


def weight_averaging(ema_decay: float | None, swa_first_epoch: int | None) -> list[pl.Callback]:
    """Return the callback that averages the weights, which are then evaluated and kept; empty for none.

    Args:
        ema_decay: Decay of an exponential moving average, or None.
        swa_first_epoch: See `StochasticWeightAveraging`, or None.
    """
    if ema_decay:
        return [EMAWeightAveraging(decay=ema_decay)]
    return [StochasticWeightAveraging(swa_first_epoch)] if swa_first_epoch else []


def build_callbacks(
    checkpoints: Path,
    seed: int,
    monitor: str,
    patience: int | None,
    averaging: Sequence[pl.Callback],
    show_progress: bool,
) -> list[pl.Callback]:
    """Return the callbacks of a fit, in the order in which they depend on each other.

    Args:
        checkpoints: Directory of the checkpoints.
        seed: Seed of the run.
        monitor: Dev metric that selects the best epoch.
        patience: Number of epochs without improvement after which training stops, or None.
        averaging: Callback that averages the weights, see `weight_averaging`; empty for none.
        show_progress: True to show a progress bar.
    """
    best = RunCheckpoint(checkpoints, "best", monitor)
    callbacks: list[pl.Callback] = [ReseedEachEpoch(seed), StagedLearning(), *averaging]
    if patience:
        callbacks.append(EarlyStopping(monitor, mode=best.mode, patience=patience, check_on_train_epoch_end=True))
    if show_progress:
        callbacks.append(RichProgressBar(leave=False))
    # The latest one comes after the best one, since it stores the state of the callbacks before it.
    return [*callbacks, best, RunCheckpoint(checkpoints, "last")]
