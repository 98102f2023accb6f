"""Published image networks, with or without their pretrained weights."""

import torch
from torch import Tensor, nn

from emotion.config.fields import Dropout
from emotion.errors import EmotionError
from emotion.features.images import CENTER, STD
from emotion.features.pretrained import fill, from_url, weights_of
from emotion.models.base import ImageBackbone

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FaceVgg16(ImageBackbone):
    """The convolutions of torchvision's VGG16 (Simonyan & Zisserman, 2015), then global average pooling.

    https://arxiv.org/abs/1409.1556.

    Args:
        num_channels: Number of channels of an image; must be 3.
        weights: `none` (default), `imagenet` (downloaded), or a file with torchvision's weights.
        dropout: Dropout probability of the embedding, in [0, 1).

    Raises:
        EmotionError: images are grey.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_channels: int, weights: str = "none", dropout: Dropout = 0.5) -> None:
        super().__init__()
        _require_colors(num_channels)
        # `vgg16()` would also allocate the fully connected layers, which hold most of its weights.
        from torchvision.models.vgg import cfgs, make_layers

        self.weights = weights
        self.layers, self.dropout = make_layers(cfgs["D"]), nn.Dropout(dropout)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD)[:, None, None], persistent=False)
        self.embed_dim = 512

    def forward(self, images: Tensor) -> Tensor:
        """See `ImageBackbone.forward`."""
        pixels = images * STD + CENTER
        return self.dropout(self.layers((pixels - self.mean) / self.std).mean(dim=(2, 3)))

    def load_pretrained(self) -> None:
        """See `Backbone.load_pretrained`."""
        if self.weights != "none":
            from torchvision.models import VGG16_Weights

            weights = weights_of(self.weights, {"imagenet": from_url(VGG16_Weights.IMAGENET1K_V1.url)})
            own = {key.removeprefix("features."): v for key, v in weights.items() if key.startswith("features.")}
            fill(self.layers, own, self.weights)


class FaceFacenet(ImageBackbone):
    """InceptionResnetV1 of facenet-pytorch, a face recognition network (Schroff et al., 2015).

    https://arxiv.org/abs/1503.03832.

    Args:
        num_channels: Number of channels of an image; must be 3.
        weights: `none` (default), `vggface2` or `casia-webface` (downloaded), or a file with such weights.
        dropout: Dropout probability before the last layer, in [0, 1).

    Raises:
        EmotionError: images are grey.
    """

    def __init__(self, num_channels: int, weights: str = "none", dropout: Dropout = 0.6) -> None:
        super().__init__()
        _require_colors(num_channels)
        # Imported here, since facenet_pytorch takes seconds to import.
        from facenet_pytorch import InceptionResnetV1

        self.weights = weights
        self.layers = InceptionResnetV1(classify=True, num_classes=1, dropout_prob=dropout)
        self.layers.register_module("logits", nn.Identity())
        self.embed_dim = 512

    def forward(self, images: Tensor) -> Tensor:
        """See `ImageBackbone.forward`; embeddings are not normalised to unit length."""
        pixels = images * STD + CENTER
        return self.layers(2 * pixels - 1)

    def load_pretrained(self) -> None:
        """See `Backbone.load_pretrained`."""
        if self.weights != "none":
            release = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
            files = {"vggface2": "20180402-114759-vggface2.pt", "casia-webface": "20180408-102900-casia-webface.pt"}
            weights = weights_of(self.weights, {name: from_url(release + file) for name, file in files.items()})
            own = {key: value for key, value in weights.items() if not key.startswith("logits.")}
            fill(self.layers, own, self.weights)


def _require_colors(num_channels: int) -> None:
    if num_channels != 3:
        raise EmotionError("this network needs colour images: set model.images.color=rgb")
