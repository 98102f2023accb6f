"""The contract of an encoder, and the classifier that every encoder can become."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from emotion.features.normalization import FrontEnd
from emotion.features.pictures import PictureFrontEnd, place_in_clip
from emotion.models.pooling import StatisticsPooling


class FeatureNetwork(nn.Module):
    """A network over frames of features. What every model file of sound or action units defines.

    The constructor takes `num_features`, and may take `orders`, which is 1 and one more for each order of deltas among
    those features. A padded item must give what the item alone gives.

    Attributes:
        embed_dim: Size of the embedding.
    """

    embed_dim: int

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """Embed a batch.

        Args:
            features: Shape (B, F, N), zero beyond each item's frames.
            frames: Shape (B,).

        Returns:
            Shape (B, embed_dim).
        """
        raise TypeError(f"{type(self).__name__} does not define forward")


class FeatureEncoder(nn.Module):
    """A front end and a network: from one modality of a batch to embeddings.

    Args:
        front_end: Features, with `num_features` of them.
        network: Takes those features.
    """

    def __init__(self, front_end: FrontEnd, network: FeatureNetwork) -> None:
        super().__init__()
        self.front_end, self.network = front_end, network
        self.embed_dim = network.embed_dim

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Embed a batch as the front end takes it; shape (B, embed_dim)."""
        return self.network(*self.front_end(batch))

    def present(self, batch: dict[str, Any]) -> Tensor:
        """See `FrontEnd.present`."""
        return self.front_end.present(batch)


class PictureNetwork(nn.Module):
    """A network over single pictures. What every model file of faces defines.

    The constructor takes `num_channels`, of a picture.

    Attributes:
        embed_dim: Size of the embedding.
    """

    embed_dim: int

    def forward(self, pictures: Tensor) -> Tensor:
        """Embed pictures, shape (N, C, H, W), each by itself; shape (N, embed_dim)."""
        raise TypeError(f"{type(self).__name__} does not define forward")


class PictureEncoder(nn.Module):
    """Embeds each picture of a clip by a network, and the clip by what its pictures have in common.

    Args:
        front_end: Pictures.
        network: Takes those pictures.
        pooling: Over the pictures of a clip: `mean` or `attention`, see `StatisticsPooling`.
    """

    def __init__(self, front_end: PictureFrontEnd, network: PictureNetwork, pooling: str = "mean") -> None:
        super().__init__()
        self.front_end, self.network = front_end, network
        self.pool = StatisticsPooling(network.embed_dim, pooling)
        self.embed_dim = self.pool.embed_dim

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Embed a batch, each item of which has a face; shape (B, embed_dim)."""
        pictures, item = self.front_end(batch)
        counts = item.bincount(minlength=len(batch["face_mask"]))
        embedded = self.network(pictures)
        rows = embedded.new_zeros(len(counts), int(counts.max()), embedded.shape[1])
        rows = rows.index_put((item, place_in_clip(item)), embedded)
        return self.pool(rows.transpose(1, 2), counts)

    def present(self, batch: dict[str, Any]) -> Tensor:
        """See `PictureFrontEnd.present`."""
        return self.front_end.present(batch)


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
        num_classes: Logits.
        hidden: See `MlpHead`.
        dropout: See `MlpHead`.
    """

    def __init__(
        self, encoder: nn.Module, num_classes: int, hidden: tuple[int, ...] = (), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = MlpHead(encoder.embed_dim, num_classes, hidden, dropout)

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
