"""Autoencoders of features; a large reconstruction error marks recordings unlike those of training."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from emotion.batch import frame_mask
from emotion.config.fields import Count, NonNegative
from emotion.errors import EmotionError
from emotion.features.normalization import FrontEnd
from emotion.models.base import Classifier, FeatureBackbone, FeatureEncoder

_TINY = 1e-6


class Autoencoder(FeatureBackbone):
    """Convolutional autoencoder, or variational autoencoder (Kingma & Welling, 2014).

    https://arxiv.org/abs/1312.6114. The embedding of an item is its latent vector, followed by the logarithm of the
    fraction of variance unexplained, see `errors`. Items are padded with zeros or cut to `frames`; padding does not
    count in the error.

    Args:
        num_features: Number of features of a frame.
        frames: Number of frames that are reconstructed.
        latent: Size of the latent vector.
        channels: Number of channels of each convolution; each halves features and frames.
        variational: Use a variational autoencoder, which can be sampled (default: False).
        divergence_weight: Weight of the Kullback-Leibler divergence of a variational autoencoder (default: 1).
    """

    def __init__(
        self,
        num_features: int,
        frames: Count = 96,
        latent: Count = 128,
        channels: Sequence[Count] = (32, 64, 128),
        variational: bool = False,
        divergence_weight: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        step = 2 ** len(channels)
        self.frames, self.latent, self.variational = frames, latent, variational
        self.divergence_weight, self.num_features = divergence_weight, num_features
        self.size = tuple(-(-length // step) * step for length in (num_features, frames))
        small = (channels[-1], *(length // step for length in self.size))
        layers: list[nn.Module] = []
        for narrow, wide in pairwise([1, *channels]):
            layers += [nn.Conv2d(narrow, wide, 4, 2, padding=1), nn.BatchNorm2d(wide), nn.LeakyReLU(0.1)]
        inner = int(np.prod(small))
        self.encode = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inner, (1 + variational) * latent))
        layers = [nn.Linear(latent, inner), nn.Unflatten(1, small)]
        for wide, narrow in pairwise([*reversed(channels), 1]):
            layers += [nn.BatchNorm2d(wide), nn.LeakyReLU(0.1), nn.ConvTranspose2d(wide, narrow, 4, 2, padding=1)]
        self.decode = nn.Sequential(*layers)
        self.frame_dim = self.embed_dim = latent + 1
        self.pool = nn.Flatten()

    def encode_frames(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeatureBackbone.encode_frames`; each item has one frame."""
        return self.forward(features, frames)[..., None], torch.ones_like(frames)

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """See `FeatureBackbone.forward`."""
        latent, _ = self._encoded(features)
        _, unexplained = self._errors(latent, features, frames)
        return torch.cat([latent, unexplained.log()[:, None]], dim=1)

    def errors(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstruction errors of a batch.

        Returns:
            Mean squared error, shape (B,), and its ratio to the variance of the features over the item's own frames,
            shape (B,), since the error is small for any item with little variance.
        """
        return self._errors(self._encoded(features)[0], features, frames)

    def loss(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the training loss and the mean squared error of the reconstruction, each of shape (B,)."""
        latent, log_variance = self._encoded(features)
        if log_variance is None:
            error, _ = self._errors(latent, features, frames)
            return error, error
        noise = torch.randn_like(latent) if self.training else torch.zeros_like(latent)
        drawn = latent + noise * (0.5 * log_variance).exp()
        error, _ = self._errors(drawn, features, frames)
        divergence = 0.5 * (latent.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        # Per value, like the error, for a normal distribution with a variance of 1.
        values = self.num_features * frames.clamp(max=self.frames)
        return error + self.divergence_weight * 2 * divergence / values, error

    def reconstruction(self, latent: Tensor) -> Tensor:
        """Return features, shape (B, F, frames), of latent vectors, shape (B, latent)."""
        return self.decode(latent)[:, 0, : self.num_features, : self.frames]

    def samples(self, count: int, seed: int = 0) -> Tensor:
        """Return features of random latent vectors, shape (count, F, frames).

        Raises:
            EmotionError: the autoencoder is not variational.
        """
        if not self.variational:
            raise EmotionError("only a variational autoencoder can be sampled: model=variational_autoencoder")
        drawn = torch.randn(count, self.latent, generator=torch.Generator().manual_seed(seed))
        return self.reconstruction(drawn.to(next(self.parameters())))

    def _encoded(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the latent vector, or mean and log-variance of its distribution, each of shape (B, latent)."""
        high, long = self.size
        cut = features[..., : self.frames]
        whole = nn.functional.pad(cut, (0, long - cut.shape[2], 0, high - cut.shape[1]))
        encoded = self.encode(whole[:, None])
        return tuple(encoded.chunk(2, dim=1)) if self.variational else (encoded, None)

    def _errors(self, latent: Tensor, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        size = min(features.shape[2], self.frames)
        frames = frames.clamp(min=1, max=size)
        own, features = frame_mask(frames, size)[:, None], features[..., :size]
        differs = torch.where(own, self.reconstruction(latent)[..., :size] - features, 0.0)
        error = differs.square().sum(dim=(1, 2)) / (self.num_features * frames)
        mean = torch.where(own, features, 0.0).sum(dim=2) / frames[:, None]
        centred = torch.where(own, features - mean[..., None], 0.0)
        variance = centred.square().sum(dim=(1, 2)) / (self.num_features * frames)
        return error, (error + _TINY) / (variance + _TINY)


def autoencoder_of(classifier: Classifier) -> tuple[FrontEnd, Autoencoder]:
    """Return the front end and the autoencoder of a classifier that has one."""
    encoder = cast(FeatureEncoder, classifier.encoder)
    return encoder.front_end, cast(Autoencoder, encoder.backbone)


class ErrorHead(nn.Module):
    """Logistic regression on the reconstruction error, fitted on dev.

    Args:
        num_classes: Number of classes.
    """

    slope: Tensor
    bias: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("slope", torch.zeros(num_classes))
        self.register_buffer("bias", torch.zeros(num_classes))

    def fit(self, embeddings: Tensor, labels: Tensor) -> None:
        """Fit to embeddings of an `Autoencoder`, shape (N, embed_dim), and class indices, shape (N,)."""
        from sklearn.linear_model import LogisticRegression

        fitted = LogisticRegression(class_weight="balanced", C=100.0)
        fitted.fit(embeddings[:, -1:].cpu().double().numpy(), labels.cpu().numpy())
        slope, bias = np.asarray(fitted.coef_)[:, 0], np.asarray(fitted.intercept_)
        if len(fitted.classes_) == 2:
            slope, bias = np.stack([-slope[0], slope[0]]) / 2, np.stack([-bias[0], bias[0]]) / 2
        self.slope.zero_()[fitted.classes_] = torch.from_numpy(slope).to(self.slope)
        self.bias.fill_(-1e4)[fitted.classes_] = torch.from_numpy(bias).to(self.bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return logits, shape (B, num_classes)."""
        return embeddings[:, -1:] * self.slope + self.bias
