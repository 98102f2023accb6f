"""The task of a model, its loss, and the selection of the best epoch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Len

from emotion.config.fields import Count, Dropout, OpenFraction, Positive
from emotion.errors import EmotionError


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The outputs of a model: emotions or ratings."""

    name: Literal["classification", "distribution", "regression"] = "classification"
    """One emotion, the shares of the emotions in the votes of annotators, or rated values such as valence."""
    targets: Annotated[list[str], Len(1)] | None = None
    """Columns of the rated values; null for those of valence, arousal and dominance that the corpus has."""

    def __post_init__(self) -> None:
        names = self.targets or []
        for name in names:
            if name in ("split", "recording", "speaker") or {",", "/"} & set(name) or names.count(name) > 1:
                raise EmotionError(
                    f"task.targets: {name!r} cannot name a rating: names are given once, without commas and slashes, "
                    "and split, recording and speaker are columns of other things"
                )

    @property
    def is_regression(self) -> bool:
        """True if rated values are predicted."""
        return self.name == "regression"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The loss, and the selection of the best epoch."""

    loss: Literal["cross_entropy", "ccc", "mse"] = "cross_entropy"
    """Loss: of `task=regression` 1 - CCC of a batch, or the mean squared error of standardised ratings."""
    monitor: Literal["dev/uar", "dev/war", "dev/macro_f1", "dev/loss", "dev/ccc"]
    """Metric that selects the best epoch."""
    patience: Count | None
    """Number of epochs without improvement after which training stops; null for never."""
    class_weights: bool
    """Weight classes equally in the loss."""
    label_smoothing: Dropout
    """Label smoothing of the loss."""
    ema_decay: OpenFraction | None
    """Decay of an exponential moving average of the weights, which is then evaluated; null for none."""
    swa_first_epoch: Count | None = None
    """First epoch, from 1, of those whose weights are averaged equally and then evaluated (SWA); null for none."""
    calibrate: bool = True
    """Fit the temperature of the softmax on dev, after the best epoch was selected."""
    temperature_factor: Positive = 1.0
    """Factor of the temperature, if it is fitted; above 1 for recordings unlike those of dev: `emotion temperature`."""
    refit: bool = False
    """Train anew on train and dev after selection on dev: a network for the selected number of epochs."""
    compile: bool = False
    """Compile the networks with torch.compile."""

    def __post_init__(self) -> None:
        if self.ema_decay and self.swa_first_epoch:
            raise EmotionError(
                f"training.ema_decay={self.ema_decay:g} and training.swa_first_epoch={self.swa_first_epoch} are two "
                "averages of the weights; set one of them"
            )
