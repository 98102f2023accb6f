"""The face network of an earlier system, kept to show what training it properly is worth."""

from itertools import pairwise

from torch import Tensor, nn

from emotion.models.base import ImageBackbone


class FaceCnnS4(ImageBackbone):
    """Three convolutions, each pooled without losing resolution, and all of what is left as the embedding.

    With a linear head for eight emotions it has 1,837,496 parameters on pictures of 128 pixels. It was published with
    mean squared error and five epochs of plain gradient descent, and then hardly beat chance.

    Args:
        num_channels: Of a picture.
        size: Side of a picture, in pixels; the same as in `model.images.size`.
    """

    def __init__(self, num_channels: int, size: int = 128) -> None:
        super().__init__()
        widths = [num_channels, 64, 32, 16]
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3), nn.ReLU(), nn.MaxPool2d(2, stride=1)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        # A convolution takes two pixels of each side, a pooling one.
        self.embed_dim = widths[-1] * (size - 3 * 3) ** 2

    def forward(self, pictures: Tensor) -> Tensor:
        """See `ImageBackbone.forward`."""
        return self.layers(pictures)
