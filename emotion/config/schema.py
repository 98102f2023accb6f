"""One dataclass for each group of the configuration. `docs/configuration.md` is generated from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, Len

from emotion.config.features import FeaturesConfig
from emotion.config.fields import (
    Count,
    NonNegative,
    NonNegativeInt,
    Only,
    OpenFraction,
    Positive,
    PositiveFraction,
    UnitInterval,
    written,
)
from emotion.config.model import ModelConfig
from emotion.config.target import Target
from emotion.config.training import TaskConfig, TrainingConfig
from emotion.errors import EmotionError

Channel = Literal["speech", "song", "both"]
Labels = str | Annotated[list[str], Len(1)]
Batches = Count | PositiveFraction
_OptionalCount = Count | None
_NOT_OURS = Only(nothing=True, reason="train.py sets it")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A corpus, and the preparation of its recordings."""

    name: str
    """Name of the corpus in results."""
    corpus: Target
    """Class that scans the corpus, and its arguments."""
    root: str | None
    """Directory of the corpora, or of the corpus itself; null for the cache (demo corpus)."""
    channel: Channel
    """Recordings of speech, of song, or of both."""
    train_channel: Channel | None = None
    """Channel of the train split, if it differs."""
    labels: Labels
    """Default label scheme of the corpus."""
    sample_rate: Annotated[int, Interval(ge=1_000, le=192_000)]
    """Sampling rate of the prepared audio, in Hz."""
    batch_size: Annotated[int, Ge(2)]  # batch normalisation needs two
    """Number of recordings in a batch."""
    on_error: Literal["raise", "skip", "allow_missing_modality"]
    """Handling of unusable files: stop, skip the recording, or use its other modalities."""
    speech_only: bool = False
    """Use only the parts of the audio that are speech, in training and in prediction; a file without any is answered
    `no speech`."""
    download: bool = False
    """Download what is missing."""
    metadata: str | None = None
    """Directory of the metadata of a corpus, see `data=emobox`."""
    path: str | None = None
    """Folder of a data set, or its name on the Hugging Face Hub, see `data=huggingface`."""
    corpora: list[str] = field(default_factory=list)
    """Names of the corpora of `data=several`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the corpora of `data=several` by their names: `root`, `channel`, arguments of the class of the corpus,
    and `choice`, the choice in the group `data` if it has another name."""
    sampling_temperature: Annotated[float, Ge(1)] = 1.0
    """Balance of the training batches: 1 samples each recording equally often. The probability of each class of each
    corpus is proportional to its number of recordings to the power 1 / temperature."""


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig:
    """The train, dev and test splits."""

    name: str
    """Name of the protocol."""
    fold: NonNegativeInt
    """Number of the fold, from 0."""
    speaker_independent: bool
    """True if no speaker is in two splits."""
    dev_shares_speakers: bool = False
    """True if dev and train may share speakers nevertheless."""
    labels: Labels
    """Default label scheme of the protocol."""
    test_corpora: list[str] = field(default_factory=list)
    """Corpora that are tested in `cross_corpus`; the others are in train and dev."""


@dataclass(frozen=True, kw_only=True)
class FacesConfig:
    """The face crops that are cut out of each video."""

    detect: Literal["mtcnn", "cropped", "none"]
    """Detect faces with MTCNN, use images as face crops, or use whole frames."""
    frames: Count
    """Maximum number of frames of a clip, spread evenly."""
    frame_step: Count = 1
    """Step between sampled frames."""
    size: Annotated[int, Interval(ge=8, le=1024)] | Annotated[list[Annotated[int, Interval(ge=8, le=2048)]], Len(2, 2)]
    """Side of a crop, or height and width of a whole frame, in pixels."""
    color: Literal["rgb", "grey"]
    """Color space of the crops."""
    margin: Annotated[float, Interval(gt=-0.5, lt=10)] = 0.3
    """Margin around the box of a face, as a fraction of its longer side."""
    detection_interval_s: Positive = 0.25
    """Time between two frames on which faces are detected, in seconds."""
    detection_size: Annotated[int, Interval(ge=32, le=4096)] = 320
    """Longer side of the frames on which faces are detected, in pixels."""
    min_face_fraction: OpenFraction = 0.15
    """Minimum size of a face, as a fraction of the shorter side of the frame."""
    trim_db: Positive | None
    """Trim frames as the audio is trimmed, by this level in decibels below its maximum; null to use all."""
    max_duration_s: Positive | None
    """Use only frames of this duration from the start, in seconds; null to use all."""


@dataclass(frozen=True, kw_only=True)
class ActionUnitsConfig:
    """Facial action units, computed beforehand by OpenFace."""

    table: str | None
    """CSV file, or directory of CSV files, of OpenFace."""
    columns: Annotated[list[Literal["intensity", "presence"]], Len(1)]
    """Kinds of columns that are used."""
    pooling: Literal["mean", "none"]
    """Use the mean over a clip, or each frame."""
    normalize: Literal["train", "speaker", "none"]
    """Standardise by statistics of the train split, by those of each speaker (transductive), or not."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Arguments of `pytorch_lightning.Trainer`; further ones can be added with `+trainer.KEY=VALUE`."""

    accelerator: Literal["cpu", "gpu", "cuda", "auto"]
    """Hardware."""
    devices: Count | Literal[-1, "auto"] | Annotated[list[NonNegativeInt], Len(1)]
    """Number of devices, or their indices; -1 for all."""
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"]
    """Strategy of distributed training."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true", 32, 64]
    """Floating-point precision."""
    max_epochs: Count
    """Number of epochs."""
    gradient_clip_val: NonNegative | None
    """Maximum norm of the gradient; null for none."""
    accumulate_grad_batches: Count
    """Number of batches for one step of the optimiser."""
    deterministic: bool | Literal["warn"]
    """Use deterministic algorithms only."""
    limit_train_batches: Batches
    """Number, or fraction, of the batches of an epoch."""
    overfit_batches: NonNegativeInt | UnitInterval
    """Number, or fraction, of batches to overfit; 0 for none."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments."""

    def __post_init__(self) -> None:
        if self.accelerator == "cpu" and (isinstance(self.devices, list) or self.devices == -1):
            raise EmotionError(
                f"trainer.devices={written(self.devices)}: on a CPU the number of processes, an integer of at least 1, "
                "is allowed"
            )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `pytorch_lightning.Trainer`."""
        own = {name: value for name, value in vars(self).items() if name != "extra"}
        return own | dict(self.extra)


EXTRA_TRAINER_FIELDS: Mapping[str, Any] = {
    "num_nodes": Count,
    "min_epochs": _OptionalCount,
    "max_time": Annotated[Any, Only(None, "results would depend on the speed of the machine; use trainer.max_epochs")],
    "max_steps": Annotated[int, Only(-1, "use trainer.max_epochs")],
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "benchmark": bool | None,
    "limit_val_batches": Batches,
    "check_val_every_n_epoch": Annotated[int, Only(1, "every epoch is evaluated on dev")],
    "val_check_interval": Annotated[float, Only(1.0, "every epoch is evaluated on dev")],
    "fast_dev_run": Annotated[bool, Only(False, "use debug=fast")],
    "barebones": Annotated[bool, Only(False, "results are written")],
    "enable_checkpointing": Annotated[bool, Only(True, "the best epoch is kept")],
    **dict.fromkeys(
        (
            "logger",
            "callbacks",
            "plugins",
            "default_root_dir",
            "num_sanity_val_steps",
            "log_every_n_steps",
            "enable_progress_bar",
            "enable_model_summary",
            "use_distributed_sampler",
        ),
        Annotated[Any, _NOT_OURS],
    ),
}
"""Arguments of `pytorch_lightning.Trainer` that no YAML file has, and their allowed values."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """An optimiser of `torch.optim`; the keys besides `name` are its arguments."""

    name: str
    """Name of the optimiser in results."""
    target: Target
    """The class and its arguments."""

    def __post_init__(self) -> None:
        if "lr" not in self.target.arguments:
            raise EmotionError("optimizer.lr is missing")

    @property
    def lr(self) -> float:
        """Learning rate."""
        return float(self.target.arguments["lr"])


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """A learning-rate scheduler of `torch.optim.lr_scheduler`; the keys besides `name` are its arguments."""

    name: str
    """Name of the scheduler."""
    target: Target
    """The class and its arguments."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The whole configuration of a run."""

    name: str
    """Name of the run: its directory below `outputs/`, and its row in reports."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)]
    """Seed of everything random."""
    labels: Labels
    """Label scheme, list of emotions, or `from_data` for all emotions that occur."""
    test: bool
    """Evaluate the test split once, after training."""
    data: DataConfig
    protocol: ProtocolConfig
    features: FeaturesConfig
    faces: FacesConfig
    action_units: ActionUnitsConfig
    augment: dict[str, Target]
    """Augmentations by name."""
    model: ModelConfig
    optimizer: OptimizerConfig
    scheduler: SchedulerConfig
    training: TrainingConfig
    trainer: TrainerConfig
    task: TaskConfig = field(default_factory=TaskConfig)
    metrics: dict[str, Target] = field(default_factory=dict)
    """Additional metrics by name."""
    logger: dict[str, Target] = field(default_factory=dict)
    """Loggers of Lightning by name."""
    callbacks: dict[str, Target] = field(default_factory=dict)
    """Further callbacks of Lightning by name."""

    def __post_init__(self) -> None:
        own = {f"model.{key}": features for key, features in self.model.own_features.items()}
        for key, features in {"features": self.features, **own}.items():
            features.check(key, self.data.sample_rate)
        if self.task.name != "classification" and not self.model.has_other_tasks:
            raise EmotionError(
                f"task={self.task.name} needs a model that is trained by gradient, such as model=mfcc_cnn; "
                f"{self.model.name} is of kind {self.model.kind}"
            )
        if self.task.is_regression:
            self._check_regression()
        elif self.training.loss != "cross_entropy" or self.training.monitor == "dev/ccc":
            given = f"training.loss={self.training.loss} and training.monitor={self.training.monitor}"
            raise EmotionError(f"{given}: task={self.task.name} has neither ccc nor mse; use task=regression")

    def _check_regression(self) -> None:
        """Refuse what only models of classes have."""
        training, allowed = self.training, {"loss": ("ccc", "mse"), "monitor": ("dev/ccc", "dev/loss")}
        for key, values in allowed.items():
            if (value := getattr(training, key)) not in values:
                raise EmotionError(f"training.{key}={value}: task=regression has {' and '.join(values)}")
        of_classes = ("class_weights", "label_smoothing", "calibrate")
        values = {"metrics": self.metrics} | {f"training.{name}": getattr(training, name) for name in of_classes}
        for key in (key for key, value in values.items() if value):
            raise EmotionError(f"{key} is of models of classes; leave it out with task=regression")
