"""The contract of an encoder, and the classifier that every encoder can become."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from emotion.features.base import Representation
from emotion.features.normalization import FrontEnd
from emotion.features.pictures import PictureFrontEnd, place_in_clip
from emotion.models.pooling import StatisticsPooling


class Network(nn.Module):
    """What an encoder learns."""

    def load_pretrained(self) -> None:
        """Start from weights that were trained elsewhere, if there are any; most networks have none."""

    def fit(self, inputs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take from the training split what is not learnt by gradient, if anything; `inputs` are as of `forward`."""


class FeatureNetwork(Network):
    """A network over frames of features. What every model file of sound or action units defines.

    The constructor takes `num_features`, and may take `orders`: how many equal parts they have, such as the features
    themselves and their deltas, or the layers of a speech encoder. A padded item must give what the item alone gives.

    Attributes:
        row_dim: Rows of the sequence.
        embed_dim: Size of the embedding.
        pool: From a sequence to an embedding.
    """

    row_dim: int
    embed_dim: int
    pool: nn.Module

    def sequence(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """What the network makes of each frame, or of every few.

        Args:
            features: Shape (B, F, N), zero beyond each item's frames.
            frames: Shape (B,).

        Returns:
            Rows over time, shape (B, row_dim, N'), and how many of the N' each item has, shape (B,).
        """
        raise TypeError(f"{type(self).__name__} does not define sequence")

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """Embed a batch, see `sequence`; shape (B, embed_dim)."""
        return self.pool(*self.sequence(features, frames))


class PictureNetwork(Network):
    """A network over single pictures. What every model file of faces defines.

    The constructor takes `num_channels`, of a picture. Pictures come as `PictureFrontEnd` gives them.

    Attributes:
        embed_dim: Size of the embedding.
    """

    embed_dim: int

    def forward(self, pictures: Tensor) -> Tensor:
        """Embed pictures, shape (N, C, H, W), each by itself; shape (N, embed_dim)."""
        raise TypeError(f"{type(self).__name__} does not define forward")


class Encoder(nn.Module):
    """A front end and a network: from one modality of a batch to embeddings.

    Args:
        front_end: What the network takes in.
        network: Takes that.
        frozen: Epochs at the start of training in which it does not learn, or True for all of them.
        learning_rate_factor: Of its learning rate to that of the rest of a model.

    Attributes:
        row_dim: Rows of the sequence.
        embed_dim: Size of the embedding.
    """

    row_dim: int
    embed_dim: int

    def __init__(
        self, front_end: nn.Module, network: Network, frozen: bool | int = False, learning_rate_factor: float = 1.0
    ) -> None:
        super().__init__()
        self.front_end, self.network = front_end, network
        self.frozen_epochs = math.inf if frozen is True else int(frozen)
        self.learning_rate_factor = learning_rate_factor
        self.start_epoch(0)
        self.train()

    def start_epoch(self, epoch: int) -> None:
        """Freeze or thaw the weights for the epoch of this number, counted from 0; `train()` has to follow."""
        self.is_frozen = epoch < self.frozen_epochs
        self.requires_grad_(not self.is_frozen)
        for module in self.modules():
            if isinstance(module, Representation) and module.frozen:
                module.requires_grad_(False)

    def load_pretrained(self) -> None:
        """Start from weights that were trained elsewhere, if there are any."""
        self.network.load_pretrained()

    def fit(self, batches: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Take from the training split, which `batches` gives anew each time, what is not learnt by gradient."""

    def train(self, mode: bool = True) -> "Encoder":
        """A frozen encoder stays as in evaluation: it drops nothing out and gathers no statistics."""
        return super().train(mode and not self.is_frozen)

    def present(self, batch: dict[str, Any]) -> Tensor:
        """Which items have what is embedded, shape (B,)."""
        return self.front_end.present(batch)

    def sequence(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What is pooled to embeddings: rows over time, shape (B, row_dim, N), and each item's number, shape (B,)."""
        raise TypeError(f"{type(self).__name__} does not define sequence")


class FeatureEncoder(Encoder):
    """An encoder of features over time; `front_end` is a `FrontEnd`, `network` a `FeatureNetwork`."""

    def __init__(self, front_end: FrontEnd, network: FeatureNetwork, **learning: Any) -> None:
        super().__init__(front_end, network, **learning)
        self.row_dim, self.embed_dim = network.row_dim, network.embed_dim

    def load_pretrained(self) -> None:
        """See `Encoder.load_pretrained`."""
        super().load_pretrained()
        self.front_end.load_pretrained()

    def fit(self, batches: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """See `Encoder.fit`: normalisation, then what the network takes."""
        self.front_end.fit(batches())
        training = self.training
        self.eval()  # of recordings as they are
        with torch.no_grad():
            self.network.fit(self._present_inputs(batch) for batch in batches())
        self.train(training)

    def _present_inputs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        features, frames = self.front_end(batch)
        has = self.present(batch)
        return features[has], frames[has]

    def sequence(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """See `Encoder.sequence`."""
        return self.network.sequence(*self.front_end(batch))

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Embed a batch as the front end takes it; shape (B, embed_dim)."""
        return self.network(*self.front_end(batch))


class PictureEncoder(Encoder):
    """Embeds each picture of a clip by a network, and the clip by what its pictures have in common.

    Args:
        front_end: Pictures.
        network: Takes those pictures.
        pooling: Over the pictures of a clip, see `StatisticsPooling`.
        **learning: See `Encoder`.
    """

    def __init__(
        self, front_end: PictureFrontEnd, network: PictureNetwork, pooling: str = "mean", **learning: Any
    ) -> None:
        super().__init__(front_end, network, **learning)
        self.pool, self.mirror = StatisticsPooling(network.embed_dim, pooling), front_end.mirror
        self.row_dim, self.embed_dim = network.embed_dim, self.pool.embed_dim

    def sequence(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """See `Encoder.sequence`; each item must have a face."""
        pictures, item = self.front_end(batch)
        embedded = self.network(pictures)
        if self.mirror and not self.training:
            embedded = (embedded + self.network(pictures.flip(3))) / 2
        if torch.compiler.is_exporting():
            counts = batch["face_mask"].sum(dim=1).clamp(min=1)
            return embedded.unflatten(0, batch["face_mask"].shape).transpose(1, 2), counts
        counts = item.bincount(minlength=len(batch["face_mask"]))
        rows = embedded.new_zeros(len(counts), int(counts.max()), embedded.shape[1])
        return rows.index_put((item, place_in_clip(item)), embedded).transpose(1, 2), counts

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Embed a batch, each item of which has a face; shape (B, embed_dim)."""
        return self.pool(*self.sequence(batch))


class MlpHead(nn.Sequential):
    """Embedding to logits through hidden layers, each linear, batch-normalised, rectified and dropped out.

    Args:
        embed_dim: Size of the embedding.
        num_classes: Logits.
        hidden: Width of each hidden layer; empty for a linear head.
        dropout: In [0, 1).
    """

    def __init__(self, embed_dim: int, num_classes: int, hidden: tuple[int, ...] = (), dropout: float = 0.0) -> None:
        widths = [embed_dim, *hidden]
        super().__init__(*hidden_layers(widths, dropout), nn.Linear(widths[-1], num_classes))


def hidden_layers(widths: Sequence[int], dropout: float) -> list[nn.Module]:
    """From each of `widths` to the next: linear, batch-normalised, rectified and dropped out."""
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        layers += [nn.Linear(narrow, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Dropout(dropout)]
    return layers


class Classifier(nn.Module):
    """An encoder and a head.

    Args:
        encoder: Embeds a batch; has `embed_dim`.
        head: From embeddings to logits.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @property
    def encoders(self) -> list[Encoder]:
        """Of each modality one."""
        return [module for module in self.modules() if isinstance(module, Encoder)]

    @property
    def learns(self) -> bool:
        """Whether training changes anything."""
        thaws = any(encoder.frozen_epochs < math.inf for encoder in self.encoders)
        return thaws or any(parameter.requires_grad for parameter in self.train().parameters())

    @property
    def front_ends(self) -> list[FrontEnd]:
        """Those of all its encoders."""
        return [module for module in self.modules() if isinstance(module, FrontEnd)]

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Logits, shape (B, num_classes)."""
        return self.head(self.encoder(batch))

    @torch.no_grad()
    def probabilities(self, batch: dict[str, Any]) -> Tensor:
        """Class probabilities in evaluation mode, shape (B, num_classes); the mode is left as it was found."""
        was_training = self.training
        self.eval()
        try:
            return self(batch).float().softmax(dim=1)
        finally:
            self.train(was_training)
