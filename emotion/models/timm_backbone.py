"""Image networks of the library timm."""

from collections.abc import Mapping
from difflib import get_close_matches
from pickle import UnpicklingError
from typing import Any

from torch import Tensor, nn

from emotion.config.fields import Dropout
from emotion.errors import EmotionError, error_message, suggest
from emotion.features.images import CENTER, STD
from emotion.features.pretrained import fill
from emotion.models.base import ImageBackbone


class TimmBackbone(ImageBackbone):
    """An image network of timm without its classifier: ResNet, MobileNet, EfficientNet, ConvNeXt, ViT and many others.

    Wightman (2019), https://github.com/huggingface/pytorch-image-models. Pixels are standardised as for the published
    weights of the network. Networks for images of one size, such as ViT, are built for the size of the branch.

    Args:
        num_channels: Number of channels of an image.
        image_size: Side of an image, in pixels.
        architecture: Name in timm, such as `resnet18`; a part after a point names published weights, as in
            `resnet18.a1_in1k`.
        weights: `none` (default), `pretrained` (downloaded), or a file with timm's weights.
        dropout: Dropout probability of the embedding, in [0, 1).

    Raises:
        EmotionError: timm is not installed, has no such network, or cannot build it for such images.
    """

    def __init__(
        self,
        num_channels: int,
        image_size: int,
        architecture: str = "resnet18",
        weights: str = "none",
        dropout: Dropout = 0.2,
    ) -> None:
        super().__init__()
        timm = _library()
        if not timm.is_model(architecture):
            near = get_close_matches(architecture, timm.list_models())
            hint = suggest(architecture, near) if near else "timm has no such network; timm.list_models() lists them"
            raise EmotionError(f"architecture={architecture}: {hint}")
        published = timm.get_pretrained_cfg(architecture)
        self.architecture, self.weights = architecture, weights
        self.options = {"num_classes": 0, "in_chans": num_channels}
        if published.fixed_input_size:
            self.options["img_size"] = image_size
        # A grey image is standardised by the means over colours.
        self.center, self.scale = (
            values if num_channels == len(values) else [sum(values) / len(values)] * num_channels
            for values in (published.mean, published.std)
        )
        try:
            self.layers = timm.create_model(architecture, **self.options)
        except Exception as error:  # networks check sizes and channels in many ways
            raise EmotionError(f"architecture={architecture} cannot be built: {error_message(error)}") from error
        self.dropout = nn.Dropout(dropout)
        self.embed_dim = int(self.layers.head_hidden_size)

    def forward(self, images: Tensor) -> Tensor:
        """See `ImageBackbone.forward`."""
        center, scale = (images.new_tensor(values)[:, None, None] for values in (self.center, self.scale))
        return self.dropout(self.layers((images * STD + CENTER - center) / scale))

    def load_pretrained(self) -> None:
        """See `Backbone.load_pretrained`; the first layer and embeddings of positions are adapted to other images."""
        if self.weights == "none":
            return
        timm = _library()
        options: dict[str, Any] = {"pretrained": True}
        try:
            if self.weights != "pretrained":
                options["pretrained_cfg_overlay"] = {"file": self.weights, "custom_load": False}
                self._require_names(timm.models.load_state_dict(self.weights))
            found = timm.create_model(self.architecture, **self.options, **options)
        except UnpicklingError as error:
            raise EmotionError(
                f"weights={self.weights} is refused: it is damaged, or holds more than weights"
            ) from error
        except Exception as error:  # damaged files and failed downloads raise many types
            raise EmotionError(
                f"weights={self.weights} of {self.architecture} cannot be read: {error_message(error)}"
            ) from error
        fill(self.layers, found.state_dict(), self.weights)

    def _require_names(self, weights: Mapping[str, Tensor]) -> None:
        """Refuse weights of another network, of which timm would leave out those that it does not know.

        Raises:
            ValueError: names a weight that is missing or too much.
        """
        classifier = _library().get_pretrained_cfg(self.architecture).classifier or ()
        names = (classifier,) if isinstance(classifier, str) else classifier
        given = {name for name in weights if not name.startswith(tuple(f"{part}." for part in names))}
        if other := given ^ set(self.layers.state_dict()):
            raise ValueError(f"they are of another network, with {min(other)}")


def _library() -> Any:
    try:
        import timm
    except ImportError as error:
        raise EmotionError("timm is not installed: pip install 'emotion[timm]'") from error
    return timm
