"""What of a recording speaks for an emotion: where the model listens, and where it looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from emotion.data.dataset import Batch
from emotion.errors import EmotionError
from emotion.models.base import Classifier, Encoder, PictureEncoder
from emotion.models.estimator import EstimatorHead
from emotion.plots.figures import blank

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEPS = 32  # of the integral


class Attribution(NamedTuple):
    """What of one modality of a recording speaks for an emotion.

    Attributes:
        seen: What the network takes in: features, shape (F, N), or pictures, shape (P, H, W, C), in [0, 1].
        speaks: For it (above 0) or against it, shape (F, N); or how much a place of a picture matters, at least 0,
            shape (P, H, W).
        bands: What the features are, from the first on: a name and how many of them it is of.
    """

    seen: np.ndarray
    speaks: np.ndarray
    bands: tuple[tuple[str, int], ...] = ()


def attribute(classifier: Classifier, batch: Batch, label: int) -> dict[str, Attribution]:
    """Explain why the one recording in `batch` gets the logit of `label`.

    Features are explained by integrated gradients from the average of the training split (Sundararajan et al., 2017,
    https://arxiv.org/abs/1703.01365), which add up to the difference in logit; pictures by Grad-CAM at the last
    convolution (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391). Both are Captum's.

    Args:
        classifier: Is put in evaluation mode.
        batch: Of one item.
        label: A class index.

    Returns:
        By encoder, such as `audio` and `visual` of a fusion, or `model` where there is one alone; what the recording
        lacks is left out.

    Raises:
        EmotionError: Captum is not installed, or there is no gradient to follow.
    """
    _require_captum()
    if isinstance(classifier.head, EstimatorHead):
        raise EmotionError("an estimator has no gradients, by which attributions are computed; explain a neural model")
    classifier.eval()
    named = getattr(classifier.encoder, "encoders", {"model": classifier.encoder})
    found = {}
    for name, encoder in named.items():
        if encoder.present(batch).all():
            explain = _of_pictures if isinstance(encoder, PictureEncoder) else _of_features
            found[name] = explain(classifier, encoder, batch, label)
    return found


def _of_features(classifier: Classifier, encoder: Encoder, batch: Batch, label: int) -> Attribution:
    from captum.attr import IntegratedGradients

    with torch.no_grad():
        features, frames = encoder.front_end(batch)
    with _given(encoder) as front_end:

        def logits(changed: Tensor) -> Tensor:
            front_end.output = (changed, frames)
            return classifier(batch)

        # One step at a time, for the rest of the batch is of one item.
        speaks = IntegratedGradients(logits).attribute(features, target=label, n_steps=_STEPS, internal_batch_size=1)
    stack = getattr(encoder.front_end, "features", None)
    bands = stack.bands if stack else (("action units", features.shape[1]),)
    return Attribution(features[0].numpy(), speaks[0].detach().float().numpy(), bands)


def _of_pictures(classifier: Classifier, encoder: PictureEncoder, batch: Batch, label: int) -> Attribution:
    from captum.attr import LayerAttribution, LayerGradCam

    with torch.no_grad():
        pictures, item = encoder.front_end(batch)
    last = [module for module in encoder.network.modules() if isinstance(module, nn.Conv2d)][-1]
    with _given(encoder) as front_end:

        def logits(changed: Tensor) -> Tensor:
            front_end.output = (changed, item)
            return classifier(batch)

        heat = LayerGradCam(logits, last).attribute(pictures, target=label, relu_attributions=True)
    heat = LayerAttribution.interpolate(heat.detach(), tuple(pictures.shape[2:]), "bilinear")[:, 0]
    low, high = pictures.amin(), pictures.amax()
    seen = ((pictures - low) / (high - low).clamp(min=1e-6)).permute(0, 2, 3, 1)
    return Attribution(seen.numpy(), heat.float().numpy())


class _Given(nn.Module):
    """In the place of a front end: gives what it is told to."""

    output: tuple[Tensor, Tensor]

    def __init__(self, front_end: nn.Module) -> None:
        super().__init__()
        self.present = front_end.present

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.output


@contextmanager
def _given(encoder: Encoder) -> Iterator[_Given]:
    own, encoder.front_end = encoder.front_end, _Given(encoder.front_end)
    try:
        yield encoder.front_end
    finally:
        encoder.front_end = own


def _require_captum() -> None:
    try:
        import captum  # noqa: F401
    except ImportError as error:
        raise EmotionError("explaining needs Captum: pip install 'emotion[explain]'") from error


def attribution_figure(rows: list[tuple[str, dict[str, Attribution]]], title: str) -> "Figure":
    """A row for each recording: what its network took in, and what of it speaks for the emotion.

    Args:
        rows: A name and what `attribute` gives, of each recording.
        title: Of the figure.
    """
    names = list(dict.fromkeys(name for _, parts in rows for name in parts))
    figure, panels = blank(1.2 + 6.5 * len(names), 0.8 + 2.3 * len(rows), len(rows), 2 * len(names), squeeze=False)
    for line, (recording, parts) in zip(panels, rows, strict=True):
        for number, name in enumerate(names):
            left, right = line[2 * number : 2 * number + 2]
            if name in parts:
                _draw(left, right, parts[name])
            else:
                left.set_axis_off()
                right.set_axis_off()
        line[0].set_title(recording, fontsize=8, loc="left")
    figure.suptitle(title)
    return figure


def _draw(left: "Axes", right: "Axes", part: Attribution) -> None:
    if part.seen.ndim == 2:
        left.imshow(part.seen, origin="lower", aspect="auto", cmap="cividis", vmin=-3, vmax=3)
        most = max(float(np.quantile(np.abs(part.speaks), 0.995)), 1e-9)
        right.imshow(part.speaks, origin="lower", aspect="auto", cmap="PuOr_r", vmin=-most, vmax=most)
        right.set_title("speaks for it (orange), against it (purple)", fontsize=8)
        ends = np.cumsum([count for _, count in part.bands])
        for axes in (left, right):
            axes.set_yticks([])
            axes.set_xlabel("frame", fontsize=7)
            axes.tick_params(labelsize=7)
            axes.hlines(ends[:-1] - 0.5, -0.5, part.seen.shape[1] - 0.5, color="black", linewidth=0.5)
        middles = ends - np.array([count for _, count in part.bands]) / 2 - 0.5
        left.set_yticks(middles, [name for name, _ in part.bands], fontsize=7)
        return
    middle = len(part.seen) // 2
    for axes in (left, right):
        axes.imshow(part.seen[middle].squeeze(), cmap="gray")
        axes.set_axis_off()
    right.imshow(part.speaks[middle], cmap="inferno", alpha=0.5)
    right.set_title("where it looks", fontsize=8)
