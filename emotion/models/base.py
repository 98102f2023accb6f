"""Base classes of backbones and encoders, and the classifier of an encoder and a head."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from emotion.batch import Batch, get_faces
from emotion.features.base import Representation
from emotion.features.images import ImageFrontEnd, place_in_clip
from emotion.features.normalization import FrontEnd
from emotion.models.heads import RatingHead
from emotion.models.pooling import StatisticsPooling


class Backbone(nn.Module):
    """Base class of the trainable part of an encoder."""

    @classmethod
    def complete(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return further arguments to save with a run, so that it is loaded without their source."""
        return {}

    def load_pretrained(self) -> None:
        """Load published weights; most backbones have none."""

    def fit(self, inputs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit what is not trained by gradient, if anything.

        Args:
            inputs: Batches of the arguments of `forward`.
        """


class FeatureBackbone(Backbone):
    """Base class of backbones over frames of features, of audio or action units.

    The constructor takes `num_features`, and may take `num_channels`, the number of equal parts of the features: the
    features and their deltas, or the layers of a speech encoder. A padded item must give what the item alone gives.

    Attributes:
        frame_dim: Size of a frame embedding.
        embed_dim: Size of the embedding.
        pool: Module from frame embeddings to an embedding.
    """

    frame_dim: int
    embed_dim: int
    pool: nn.Module

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Embed the frames of each item.

        Args:
            features: Features, shape (B, F, N), float32, zero beyond each item's frames.
            frames: Number of frames of each item, shape (B,), int64.

        Returns:
            Frame embeddings, shape (B, frame_dim, N'), and their number for each item, shape (B,).
        """
        raise TypeError(f"{type(self).__name__} does not define encode_frames")

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """Return the embeddings of a batch, shape (B, embed_dim); arguments as of `encode_frames`."""
        return self.pool(*self.encode_frames(features, frames))


class ImageBackbone(Backbone):
    """Base class of backbones over single images of faces.

    The constructor takes `num_channels`, the number of channels of an image, and may take `image_size`, its side in
    pixels.

    Attributes:
        embed_dim: Size of the embedding.
    """

    embed_dim: int

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of images of shape (N, C, H, W), shape (N, embed_dim)."""
        raise TypeError(f"{type(self).__name__} does not define forward")


class Encoder(nn.Module):
    """Base class of encoders: from one modality of a batch to embeddings.

    Attributes:
        frame_dim: Size of a frame embedding.
        embed_dim: Size of the embedding.
        is_frozen: True if none of its weights is trained in this epoch.
    """

    frame_dim: int
    embed_dim: int
    is_frozen: bool

    def load_pretrained(self) -> None:
        """Load published weights, if there are any."""

    def fit(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Fit what is not trained by gradient.

        Args:
            batches: Function that returns the batches of the train split, called once for each pass.
        """

    def present(self, batch: Batch) -> Tensor:
        """Return which items have the modality, shape (B,), bool."""
        raise TypeError(f"{type(self).__name__} does not define present")

    def encode_frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return frame embeddings, shape (B, frame_dim, N), and their number for each item, shape (B,)."""
        raise TypeError(f"{type(self).__name__} does not define encode_frames")


FrontEndT = TypeVar("FrontEndT", bound=FrontEnd | ImageFrontEnd)
BackboneT = TypeVar("BackboneT", bound=Backbone)


class BackboneEncoder(Encoder, Generic[FrontEndT, BackboneT]):
    """A front end and a backbone.

    Args:
        front_end: Module from a batch to the input of the backbone.
        backbone: The backbone.
        freeze: Number of epochs at the start of training in which the encoder is frozen, or True for all.
        lr_multiplier: Multiplier of the learning rate.
    """

    def __init__(
        self, front_end: FrontEndT, backbone: BackboneT, freeze: bool | int = False, lr_multiplier: float = 1.0
    ) -> None:
        super().__init__()
        self.front_end: FrontEndT = front_end
        self.backbone: BackboneT = backbone
        self.freeze_epochs = math.inf if freeze is True else int(freeze)
        self.lr_multiplier = lr_multiplier
        self.start_epoch(0)
        self.train()

    def start_epoch(self, epoch: int) -> None:
        """Freeze or unfreeze the weights for an epoch, counted from 0; call `train()` afterwards."""
        self.is_frozen = epoch < self.freeze_epochs
        self.requires_grad_(not self.is_frozen)
        for module in self.modules():
            if isinstance(module, Representation) and not self.is_frozen:
                module.freeze_weights()

    def load_pretrained(self) -> None:
        """See `Encoder.load_pretrained`."""
        self.backbone.load_pretrained()

    def train(self, mode: bool = True) -> "BackboneEncoder":
        """Set the mode; a frozen encoder stays in evaluation mode, without dropout and running statistics."""
        return super().train(mode and not self.is_frozen)

    def present(self, batch: Batch) -> Tensor:
        """See `Encoder.present`."""
        return self.front_end.present(batch)


class FeatureEncoder(BackboneEncoder[FrontEnd, FeatureBackbone]):
    """An encoder of features over time; `front_end` is a `FrontEnd`, `backbone` a `FeatureBackbone`."""

    def __init__(self, front_end: FrontEnd, backbone: FeatureBackbone, **learning: Any) -> None:
        super().__init__(front_end, backbone, **learning)
        self.frame_dim, self.embed_dim = backbone.frame_dim, backbone.embed_dim

    def load_pretrained(self) -> None:
        """See `Encoder.load_pretrained`."""
        super().load_pretrained()
        self.front_end.load_pretrained()

    def fit(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """See `Encoder.fit`: the normalisation, then the backbone."""
        self.front_end.fit(batches())
        training = self.training
        self.eval()  # without augmentation
        with torch.no_grad():
            self.backbone.fit(self._present_inputs(batch) for batch in batches())
        self.train(training)

    def _present_inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        features, frames = self.front_end(batch)
        has = self.present(batch)
        return features[has], frames[has]

    def encode_frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Encoder.encode_frames`."""
        return self.backbone.encode_frames(*self.front_end(batch))

    def forward(self, batch: Batch) -> Tensor:
        """Return the embeddings of a batch, shape (B, embed_dim)."""
        return self.backbone(*self.front_end(batch))


class FrameEncoder(BackboneEncoder[ImageFrontEnd, ImageBackbone]):
    """An encoder of the face images of a clip, pooled over its frames.

    Args:
        front_end: Module from a batch to images.
        backbone: Backbone over single images.
        pooling: Pooling over frames, see `StatisticsPooling`.
        **learning: See `BackboneEncoder`.
    """

    def __init__(
        self, front_end: ImageFrontEnd, backbone: ImageBackbone, pooling: str = "mean", **learning: Any
    ) -> None:
        super().__init__(front_end, backbone, **learning)
        self.pool, self.mirror = StatisticsPooling(backbone.embed_dim, pooling), front_end.mirror
        self.frame_dim, self.embed_dim = backbone.embed_dim, self.pool.embed_dim

    def encode_frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Encoder.encode_frames`; each item must have a face."""
        images, item = self.front_end(batch)
        embedded = self.backbone(images)
        if self.mirror and not self.training:
            embedded = (embedded + self.backbone(images.flip(3))) / 2
        faces, mask = get_faces(batch)
        if torch.compiler.is_exporting():
            counts = mask.sum(dim=1).clamp(min=1)
            # With the shape of the mask, which has the same values, the program would refuse recordings of one image.
            return embedded.unflatten(0, faces.shape[:2]).transpose(1, 2), counts
        counts = item.bincount(minlength=len(mask))
        padded = embedded.new_zeros(len(counts), int(counts.max()), embedded.shape[1])
        return padded.index_put((item, place_in_clip(item)), embedded).transpose(1, 2), counts

    def forward(self, batch: Batch) -> Tensor:
        """Return the embeddings of a batch whose items all have a face, shape (B, embed_dim)."""
        return self.pool(*self.encode_frames(batch))


class Classifier(nn.Module):
    """An encoder and a head.

    Args:
        encoder: Module from a batch to embeddings; has `embed_dim`.
        head: Module from embeddings to logits.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @property
    def encoders(self) -> list[BackboneEncoder]:
        """The encoders with a backbone, one for each branch."""
        return [module for module in self.modules() if isinstance(module, BackboneEncoder)]

    @property
    def is_trainable(self) -> bool:
        """True if any weights are trained, in some epoch."""
        unfreezes = any(encoder.freeze_epochs < math.inf for encoder in self.encoders)
        return unfreezes or any(parameter.requires_grad for parameter in self.train().parameters())

    @property
    def front_ends(self) -> list[FrontEnd]:
        """The front ends of all encoders."""
        return [module for module in self.modules() if isinstance(module, FrontEnd)]

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (B, num_classes)."""
        return self.head(self.encoder(batch))

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Return predictions in evaluation mode, see `activate`; the mode is restored."""
        was_training = self.training
        self.eval()
        try:
            return self.activate(self(batch).float())
        finally:
            self.train(was_training)

    def activate(self, outputs: Tensor) -> Tensor:
        """Return class probabilities, shape (B, num_classes), of logits."""
        return outputs.softmax(dim=1)


class Regressor(Classifier):
    """An encoder and a head that gives rated values, see `RatingHead`."""

    head: RatingHead

    def activate(self, outputs: Tensor) -> Tensor:
        """Return the rated values, shape (B, num_targets), as they are."""
        return outputs
