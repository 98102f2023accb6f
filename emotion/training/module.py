"""The LightningModule: loss, optimiser, and the metrics of every epoch."""

import logging
import sys
from collections.abc import Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from emotion import metrics
from emotion.augment.mixup import Mixup
from emotion.batch import Batch
from emotion.config.schema import OptimizerConfig, SchedulerConfig
from emotion.config.target import instantiate
from emotion.errors import EmotionError
from emotion.models.base import Classifier
from emotion.training.loss import batch_loss

log = logging.getLogger(__name__)


_CALIBRATION = ("calibration_error", "brier_score", "aurc")


class EmotionModule(pl.LightningModule):
    """A LightningModule that trains a classifier with cross-entropy, see `emotion.training.loss`.

    Args:
        classifier: The classifier, changed in place.
        outputs: Names of its outputs.
        optimizer: Optimiser.
        scheduler: Learning-rate scheduler, stepped after every batch. Schedulers that follow dev metrics, such as
            `ReduceLROnPlateau`, are not offered: Lightning would lose their last step when a fit is resumed.
        class_weights: Weights of the classes in the loss, shape (num_classes,), float32, or None.
        label_smoothing: Label smoothing of the loss, in [0, 1).
        mixup: Mixup of every training batch, or None.
    """

    class_weights: Tensor | None
    main = "uar"
    """The metric of dev that is shown after each epoch."""
    details = "dev_by_emotion"
    """The group of the metrics of single outputs in loggers."""
    of_train = ("loss", "uar", "war")
    """The metrics of the training batches that are logged."""

    def __init__(
        self,
        classifier: Classifier,
        outputs: tuple[str, ...],
        optimizer: OptimizerConfig,
        scheduler: SchedulerConfig,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        mixup: Mixup | None = None,
    ) -> None:
        super().__init__()
        self.classifier, self.outputs, self.mixup = classifier, outputs, mixup
        self.optimizer_config, self.scheduler_config = optimizer, scheduler
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.label_smoothing = label_smoothing
        self.seen: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "dev": [], "test": []}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of a batch."""
        if self.mixup is not None:
            batch = self.mixup(batch)
        outputs = self.classifier(batch)
        loss = self.compute_loss(outputs, batch)
        self._store_outputs("train", outputs, self.truth_of(batch))
        return loss

    def compute_loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the loss of a training batch, whose outputs have the shape (B, C)."""
        return batch_loss(outputs, batch, self.class_weights, self.label_smoothing)

    def truth_of(self, batch: Batch) -> Tensor:
        """Return the class indices of a batch, shape (B,)."""
        return batch["label"]

    def compute_metrics(self, truth: Tensor, outputs: Tensor) -> dict[str, float]:
        """Compute the metrics of a split.

        Args:
            truth: Results of `truth_of` for all recordings, on the CPU.
            outputs: Outputs of the model, shape (n, C), on the CPU.
        """
        return metrics.classification_metrics(truth.numpy(), outputs.softmax(dim=1).numpy(), self.outputs)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keep the logits; metrics are computed over the whole split."""
        self._store_outputs("dev", self.classifier(batch), self.truth_of(batch))

    def test_step(self, batch: Batch, _: int) -> None:
        """Keep the logits, see `validation_step`."""
        self._store_outputs("test", self.classifier(batch), self.truth_of(batch))

    def predict_step(self, batch: Batch, _: int) -> Tensor:
        """Return the predictions of a batch, see `Classifier.predict`."""
        return self.classifier.predict(batch)

    def on_train_epoch_start(self) -> None:
        """Drop the logits of an interrupted epoch."""
        self.seen["train"].clear()

    def on_validation_epoch_start(self) -> None:
        """Drop the logits of an interrupted epoch."""
        self.seen["dev"].clear()

    def on_test_epoch_start(self) -> None:
        """Drop the logits of an interrupted epoch."""
        self.seen["test"].clear()

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self.log_dict({f"test/{key}": value for key, value in self._compute_metrics("test").items() if "/" not in key})

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the (augmented) training batches and the learning rate."""
        figures = self._compute_metrics("train")
        self.log_dict({f"train/{key}": figures[key] for key in self.of_train})
        self.log("learning_rate", cast(Optimizer, self.optimizers()).param_groups[0]["lr"])
        dev, message = self.trainer.callback_metrics, f"train loss {figures['loss']:.3f}"
        if (main := f"dev/{self.main}") in dev:  # not if dev is trained on too
            message += f"  dev loss {dev['dev/loss']:.3f}  dev {self.main.upper()} {dev[main]:.3f}"
        self._report_epoch(message)

    def on_validation_epoch_end(self) -> None:
        """Log the dev metrics."""
        for key, value in self._compute_metrics("dev").items():
            # TensorBoard shows the main metrics first.
            group = self.details if "/" in key else "dev_calibration" if key in _CALIBRATION else "dev"
            self.log(f"{group}/{key}", value, prog_bar=key == self.main)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and the scheduler. Biases and normalisation parameters have no weight decay."""
        rate, groups = self.optimizer_config.lr, []
        for factor, parameters in self._parameters_by_lr().items():
            decay = [parameter for parameter in parameters if parameter.ndim > 1]
            rest = [parameter for parameter in parameters if parameter.ndim <= 1]
            groups.append({"params": decay, "lr": rate * factor})
            groups.append({"params": rest, "lr": rate * factor, "weight_decay": 0.0})
        groups = [group for group in groups if group["params"]]
        optimizer = instantiate(self.optimizer_config.target, Optimizer, params=groups)
        steps = int(self.trainer.estimated_stepping_batches)
        rates = [group["lr"] for group in groups]
        scheduler = instantiate(
            self.scheduler_config.target, LRScheduler, optimizer=optimizer, total_steps=steps, T_max=steps, max_lr=rates
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameters_by_lr(self) -> dict[float, list[nn.Parameter]]:
        """Return the parameters by the multiplier of their learning rate."""
        # `modules()` yields outer modules first, so multipliers of inner modules replace theirs.
        slower = [module for module in self.classifier.modules() if hasattr(module, "lr_multiplier")]
        factors: dict[int, float] = {
            id(p): cast(float, module.lr_multiplier) for module in slower for p in module.parameters()
        }
        groups: dict[float, list[nn.Parameter]] = {1.0: []}
        for parameter in self.classifier.parameters():
            groups.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
        return groups

    def _report_epoch(self, message: str) -> None:
        """Log every epoch to the file, and some epochs to the console if it shows no progress bar."""
        number, epochs = self.current_epoch + 1, cast(int, self.trainer.max_epochs)
        worth_showing = number in (1, epochs) or number % max(1, epochs // 10) == 0
        level = logging.INFO if worth_showing and not sys.stderr.isatty() else logging.DEBUG
        log.log(level, "epoch %d/%d  %s", number, epochs, message)

    def _store_outputs(self, split: str, outputs: Tensor, truth: Tensor) -> None:
        # They stay on the device: a copy to the CPU would synchronise every step.
        self.seen[split].append((truth, outputs.detach().float()))

    def _compute_metrics(self, split: str) -> dict[str, float]:
        truth, outputs = map(gather_processes, zip(*self.seen[split], strict=True))
        self.require_finite(outputs)
        return self.compute_metrics(truth, outputs)

    def require_finite(self, values: Tensor) -> None:
        """Stop a training that diverged.

        Raises:
            EmotionError: some of `values`, outputs of the model, are not finite.
        """
        if not values.isfinite().all():
            raise EmotionError(
                f"training diverged: outputs of the model are not finite in epoch {self.current_epoch + 1}; "
                f"lower optimizer.lr={self.optimizer_config.lr:g}"
            )


def gather_processes(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate tensors of all processes of a distributed fit along the first axis, on the CPU."""
    own = torch.cat(list(parts)).cpu()
    if not (distributed.is_available() and distributed.is_initialized()):
        return own
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, own)
    return torch.cat(found)
