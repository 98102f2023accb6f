"""Train an autoencoder on one emotion; large reconstruction errors then mean another emotion."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from emotion.batch import Batch, select_items
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import EmotionError
from emotion.models.autoencoder import ErrorHead, autoencoder_of
from emotion.models.base import Classifier
from emotion.models.build import checkpoint_state
from emotion.training.callbacks import AtomicCheckpoints
from emotion.training.fit import FitSettings, Fitted, fit
from emotion.training.module import EmotionModule, gather_processes


class ReconstructionModule(EmotionModule):
    """A LightningModule that trains the autoencoder of a classifier; its head is fitted afterwards.

    Args:
        train_emotion: Label of the train split; the epoch is selected on the dev recordings with this label.
        *module: Arguments of `EmotionModule` up to the scheduler; the encoder's network is an `Autoencoder`.
    """

    def __init__(self, train_emotion: str, *module: Any) -> None:
        super().__init__(*module)
        self.train_emotion = self.outputs.index(train_emotion)
        self.errors: dict[str, list[Tensor]] = {"train": [], "dev": [], "dev_of_others": []}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of a batch."""
        return self._loss("train", batch)[0].mean()

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keep the losses."""
        own = batch["label"] == self.train_emotion
        for split, rows in (("dev", own), ("dev_of_others", ~own)):
            if rows.any():
                self._loss(split, select_items(batch, rows))

    def on_train_epoch_start(self) -> None:
        """Drop the losses of an interrupted epoch."""
        self.errors["train"].clear()

    def on_validation_epoch_start(self) -> None:
        """Drop the losses of an interrupted epoch."""
        self.errors["dev"].clear()
        self.errors["dev_of_others"].clear()

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the training batches and the learning rate."""
        loss, error = self._means("train")
        self.log_dict({"train/loss": loss, "train/error": error})
        self.log("learning_rate", cast(Optimizer, self.optimizers()).param_groups[0]["lr"])
        dev = self.trainer.callback_metrics
        message = (
            f"train error {error:.3f}  dev error {dev['dev/error']:.3f}, of others {dev['dev/error_of_others']:.3f}"
        )
        self._report_epoch(message)

    def on_validation_epoch_end(self) -> None:
        """Log the dev metrics."""
        loss, error = self._means("dev")
        self.log_dict({"dev/loss": loss, "dev/error": error, "dev/error_of_others": self._means("dev_of_others")[1]})

    def _loss(self, split: str, batch: Batch) -> tuple[Tensor, Tensor]:
        front_end, backbone = autoencoder_of(self.classifier)
        loss, error = backbone.loss(*front_end(batch))
        self.errors[split].append(torch.stack([loss, error], dim=1).detach().float())
        return loss, error

    def _means(self, split: str) -> list[float]:
        remembered = gather_processes(self.errors[split] or [torch.zeros(0, 2)])
        self.require_finite(remembered)
        return remembered.mean(dim=0).tolist()


def fit_autoencoder(
    train_emotion: str, settings: FitSettings, classifier: Classifier, datamodule: EmotionDataModule
) -> Fitted:
    """Train an autoencoder as `fit` does, then fit its head on dev, which has all classes.

    Args:
        train_emotion: Label of the recordings on which it is trained.
        settings: Settings of the fit.
        classifier: Changed in place.
        datamodule: Set up already.
    """
    monitor = settings.training.monitor
    if not monitor.endswith("loss"):
        raise EmotionError(f"training.monitor={monitor}: dev/loss is allowed, since the model is an autoencoder")
    if datamodule.dataset("dev").label.unique().numel() < 2:
        raise EmotionError(f"the dev split holds only {train_emotion}; the head needs recordings of other emotions")
    module = ReconstructionModule(train_emotion, classifier, datamodule.classes, settings.optimizer, settings.scheduler)
    fitted = fit(settings, classifier, datamodule, module)
    if fitted.is_main:
        classifier.cpu().eval()
        with torch.no_grad():
            found = [(classifier.encoder(batch), batch["label"]) for batch in datamodule.batches("dev")]
        cast(ErrorHead, classifier.head).fit(*map(torch.cat, zip(*found, strict=True)))
        best, files = settings.run_dir / "checkpoints" / "best.ckpt", AtomicCheckpoints()
        checkpoint = files.load_checkpoint(best)
        state = checkpoint["state_dict"] | checkpoint_state(classifier)
        files.save_checkpoint(checkpoint | {"state_dict": state}, best)
    return fitted
