"""Video networks over the face crops of a clip, such as VideoMAE, with the library `transformers`."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from emotion.batch import Batch, get_faces
from emotion.config.fields import Dropout
from emotion.errors import EmotionError
from emotion.features.images import CENTER, STD, ImageFrontEnd
from emotion.features.pretrained import fill
from emotion.features.transformers_library import build_network, describe_video_encoder, from_library
from emotion.models.base import Backbone, BackboneEncoder


class VideoBackbone(Backbone):
    """Base class of backbones over clips of images.

    The constructor takes `num_channels`, the number of channels of an image, and may take `image_size`, its side in
    pixels.

    Attributes:
        num_frames: Number of images of a clip.
        frame_dim: Size of the embedding of a part of the clip.
        embed_dim: Size of the embedding.
    """

    num_frames: int
    frame_dim: int
    embed_dim: int

    def encode_frames(self, clips: Tensor) -> Tensor:
        """Return embeddings of successive parts of clips, shape (B, frame_dim, N).

        Args:
            clips: Standardised images, shape (B, num_frames, C, H, W).
        """
        raise TypeError(f"{type(self).__name__} does not define encode_frames")

    def forward(self, clips: Tensor) -> Tensor:
        """Return the embeddings of clips, shape (B, embed_dim): the mean over their parts."""
        return self.encode_frames(clips).mean(dim=2)


class TransformersVideo(VideoBackbone):
    """A video encoder of transformers without its head: VideoMAE, TimeSformer or ViViT.

    Pixels are standardised as for the published weights. The architecture is stored in the run, so that a run is loaded
    without the folder and without a connection.

    Args:
        num_channels: Number of channels of an image; must be 3.
        image_size: Side of an image, in pixels.
        encoder: Name on the Hugging Face Hub, such as `MCG-NJU/videomae-base`, or a folder.
        revision: Commit, branch or tag on the Hub (default: the main branch).
        architecture: Configuration of the encoder and of its input (default: those of `encoder`).
        weights: `pretrained` (default), or `none` for random ones.
        dropout: Dropout probability of the embedding, in [0, 1).

    Raises:
        EmotionError: transformers is not installed, the encoder cannot be read, or it takes other images.
    """

    def __init__(
        self,
        num_channels: int,
        image_size: int,
        encoder: str | None,
        revision: str | None = None,
        architecture: dict[str, Any] | None = None,
        weights: Literal["pretrained", "none"] = "pretrained",
        dropout: Dropout = 0.2,
    ) -> None:
        super().__init__()
        described = architecture or describe_video_encoder(encoder, revision)
        self.encoder, self.revision, self.weights = encoder, revision, weights
        model, image = described["model"], described["input"]
        if num_channels != 3 or image_size != model["image_size"]:
            raise EmotionError(
                f"{encoder} takes colour images of {model['image_size']} pixels: set model.images.color=rgb "
                f"model.images.size={model['image_size']} (of a branch, below its key)"
            )
        self.model, self.kind = build_network(model), str(model["model_type"])
        self.num_frames, self.frame_dim = int(model["num_frames"]), int(model["hidden_size"])
        patch = model["tubelet_size"][1] if self.kind == "vivit" else model["patch_size"]
        self.embed_dim, self.patches = self.frame_dim, (image_size // int(patch)) ** 2
        self.mean, self.std = image["image_mean"], image["image_std"]
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def complete(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `Backbone.complete`: the architecture, and the commit on the Hub."""
        if arguments.get("architecture"):
            return {}
        described = describe_video_encoder(arguments.get("encoder"), arguments.get("revision"))
        return {"revision": described.pop("commit") or arguments.get("revision"), "architecture": described}

    def encode_frames(self, clips: Tensor) -> Tensor:
        """See `VideoBackbone.encode_frames`; a part is the images of one tubelet, or one image."""
        mean, std = (clips.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        states = self.model((clips * STD + CENTER - mean) / std).last_hidden_state
        states = states if self.kind == "videomae" else states[:, 1:]  # without the class token
        # The states of TimeSformer are sorted by place, then by time.
        by_place = self.kind == "timesformer"
        sizes = (self.patches, -1) if by_place else (-1, self.patches)
        parts = states.unflatten(1, sizes).mean(dim=1 if by_place else 2)
        return self.dropout(parts).transpose(1, 2)

    def load_pretrained(self) -> None:
        """See `Backbone.load_pretrained`."""
        if self.weights == "none":
            return
        if self.encoder is None:
            raise EmotionError("model.backbone.encoder is missing")
        found = from_library("AutoModel", self.encoder, self.revision)
        fill(self.model, found.state_dict(), self.encoder)


class ClipEncoder(BackboneEncoder[ImageFrontEnd, VideoBackbone]):
    """An encoder of the face images of a clip by a video network.

    As many images as the network takes are chosen at equal steps; those of shorter clips are repeated.

    Args:
        front_end: Module from a batch to images.
        backbone: Backbone over clips.
        **learning: See `BackboneEncoder`.
    """

    def __init__(self, front_end: ImageFrontEnd, backbone: VideoBackbone, **learning: Any) -> None:
        super().__init__(front_end, backbone, **learning)
        self.frame_dim, self.embed_dim = backbone.frame_dim, backbone.embed_dim

    def clips(self, batch: Batch) -> Tensor:
        """Return the images of a batch whose items all have a face, shape (B, num_frames, C, H, W)."""
        if torch.compiler.is_exporting():
            raise EmotionError("a video network cannot be exported to this format; use --format hub or bundle")
        images, item = self.front_end(batch)
        counts = item.bincount(minlength=len(get_faces(batch)[1]))
        starts = counts.cumsum(0) - counts
        steps = torch.linspace(0, 1, self.backbone.num_frames, device=images.device)
        return images[starts[:, None] + (steps * (counts[:, None] - 1)).round().long()]

    def encode_frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Encoder.encode_frames`; each item must have a face."""
        frames = self.backbone.encode_frames(self.clips(batch))
        return frames, torch.full((len(frames),), frames.shape[2], device=frames.device)

    def forward(self, batch: Batch) -> Tensor:
        """Return the embeddings of a batch whose items all have a face, shape (B, embed_dim)."""
        return self.backbone(self.clips(batch))
