"""The face network of the prior system S4, for comparison."""

from itertools import pairwise

from torch import Tensor, nn

from emotion.models.base import ImageBackbone


class FaceCnnS4(ImageBackbone):
    """Three convolutions with max pooling of stride 1; the flattened result is the embedding.

    With a linear head for eight emotions it has 1,837,496 parameters on images of 128 pixels. As published, trained for
    five epochs with mean squared error and plain gradient descent, it was near chance.

    Args:
        num_channels: Number of channels of an image.
        size: Side of an image, in pixels; must equal `model.images.size`.
    """

    def __init__(self, num_channels: int, size: int = 128) -> None:
        super().__init__()
        widths = [num_channels, 64, 32, 16]
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 3), nn.ReLU(), nn.MaxPool2d(2, stride=1)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        # A convolution reduces each side by two pixels, a pooling by one.
        self.embed_dim = widths[-1] * (size - 3 * 3) ** 2

    def forward(self, images: Tensor) -> Tensor:
        """See `ImageBackbone.forward`."""
        return self.layers(images)
