"""Attributions of a prediction to time and frequency of the features, and to pixels of the face crops."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from emotion.batch import Batch
from emotion.errors import EmotionError
from emotion.models.base import BackboneEncoder, Classifier, FrameEncoder
from emotion.models.estimator import EstimatorHead
from emotion.plots.figure import new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_N_STEPS = 32  # of the approximation of the integral


class Attribution(NamedTuple):
    """Attribution of a logit to the input of one encoder.

    Attributes:
        input: Network input: features, shape (F, N), or images, shape (P, H, W, C), in [0, 1].
        attribution: Contribution of each feature, positive or negative, shape (F, N), or Grad-CAM of each pixel, at
            least 0, shape (P, H, W).
        feature_sets: Name and number of rows of each feature set, in the order of the rows.
    """

    input: np.ndarray
    attribution: np.ndarray
    feature_sets: tuple[tuple[str, int], ...] = ()


def attribute(classifier: Classifier, batch: Batch, label: int) -> dict[str, Attribution]:
    """Attribute the logit of a class to the inputs of each encoder.

    Features are attributed by integrated gradients, with the mean of the training split as baseline (Sundararajan et
    al., 2017, https://arxiv.org/abs/1703.01365); the attributions add up to the difference in logit. Images are
    attributed by Grad-CAM at the last convolution (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391). Both are
    Captum's.

    Args:
        classifier: Classifier; it is put in evaluation mode.
        batch: Batch of one recording.
        label: Class index.

    Returns:
        Attribution by encoder, such as `audio` and `face` of a fusion, or `model` for a single encoder. Encoders
        whose modality is missing, and estimators, are left out.

    Raises:
        EmotionError: Captum is not installed, or the model has no gradients.
    """
    _require_captum()
    if isinstance(classifier.head, EstimatorHead):
        raise EmotionError("attributions need gradients, which an estimator does not have; choose a neural model")
    classifier.eval()
    encoders = getattr(classifier.encoder, "encoders", {"model": classifier.encoder})
    attributions = {}
    for name, encoder in encoders.items():
        if isinstance(encoder, BackboneEncoder) and encoder.present(batch).all():
            if isinstance(encoder, FrameEncoder):
                attributions[name] = _grad_cam(classifier, encoder, batch, label)
            else:
                attributions[name] = _integrated_gradients(classifier, encoder, batch, label)
    return attributions


def _integrated_gradients(classifier: Classifier, encoder: BackboneEncoder, batch: Batch, label: int) -> Attribution:
    from captum.attr import IntegratedGradients

    with torch.no_grad():
        features, frames = encoder.front_end(batch)
    with _constant_front_end(encoder) as front_end:

        def logits(changed: Tensor) -> Tensor:
            front_end.output = (changed, frames)
            return classifier(batch)

        # One step at a time, since the other modalities of the batch are of one recording.
        method = IntegratedGradients(logits)
        attribution = method.attribute(features, target=label, n_steps=_N_STEPS, internal_batch_size=1)
    stack = getattr(encoder.front_end, "features", None)
    feature_sets = stack.feature_groups if stack else (("action units", features.shape[1]),)
    return Attribution(features[0].numpy(), attribution[0].detach().float().numpy(), feature_sets)


def _grad_cam(classifier: Classifier, encoder: FrameEncoder, batch: Batch, label: int) -> Attribution:
    from captum.attr import LayerAttribution, LayerGradCam

    with torch.no_grad():
        images, item = encoder.front_end(batch)
    last = [module for module in encoder.backbone.modules() if isinstance(module, nn.Conv2d)][-1]
    with _constant_front_end(encoder) as front_end:

        def logits(changed: Tensor) -> Tensor:
            front_end.output = (changed, item)
            return classifier(batch)

        heatmap = cast(Tensor, LayerGradCam(logits, last).attribute(images, target=label, relu_attributions=True))
    heatmap = LayerAttribution.interpolate(heatmap.detach(), tuple(images.shape[2:]), "bilinear")[:, 0]
    low, high = images.amin(), images.amax()
    scaled = ((images - low) / (high - low).clamp(min=1e-6)).permute(0, 2, 3, 1)
    return Attribution(scaled.numpy(), heatmap.float().numpy())


class _ConstantFrontEnd(nn.Module):
    """Front end that returns a given output, whatever the batch."""

    output: tuple[Tensor, Tensor]

    def __init__(self, front_end: nn.Module) -> None:
        super().__init__()
        self.present = front_end.present

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.output


@contextmanager
def _constant_front_end(encoder: BackboneEncoder) -> Iterator[_ConstantFrontEnd]:
    original, encoder.front_end = encoder.front_end, _ConstantFrontEnd(encoder.front_end)
    try:
        yield encoder.front_end
    finally:
        encoder.front_end = original


def _require_captum() -> None:
    try:
        import captum  # noqa: F401
    except ImportError as error:
        raise EmotionError("attributions need Captum; install it with pip install 'emotion[explain]'") from error


def plot_attributions(rows: list[tuple[str, dict[str, Attribution]]], title: str) -> "Figure":
    """Plot network input and attribution of recordings, one row per recording.

    Args:
        rows: Name, and attributions as returned by `attribute`, of each recording.
        title: Title of the figure.
    """
    names = list(dict.fromkeys(name for _, parts in rows for name in parts))
    size = (1.2 + 6.5 * len(names), 0.8 + 2.3 * len(rows))
    figure, panels = new_panels(*size, len(rows), 2 * len(names))
    for axes in panels.ravel():
        axes.set_axis_off()
    for line, (recording, parts) in zip(panels, rows, strict=True):
        for number, name in enumerate(names):
            left, right = line[2 * number : 2 * number + 2]
            if name in parts:
                plot = _plot_feature_attribution if parts[name].input.ndim == 2 else _plot_image_attribution
                plot(left, right, parts[name])
        line[0].set_title(recording, fontsize=8, loc="left")
    figure.suptitle(title)
    return figure


def _plot_feature_attribution(left: "Axes", right: "Axes", part: Attribution) -> None:
    left.imshow(part.input, origin="lower", aspect="auto", cmap="cividis", vmin=-3, vmax=3)
    limit = max(float(np.quantile(np.abs(part.attribution), 0.995)), 1e-9)
    right.imshow(part.attribution, origin="lower", aspect="auto", cmap="PuOr_r", vmin=-limit, vmax=limit)
    right.set_title("attribution: positive (orange), negative (purple)", fontsize=8)
    sizes = np.array([size for _, size in part.feature_sets])
    ends = np.cumsum(sizes)
    for axes in (left, right):
        axes.set_axis_on()
        axes.set_yticks([])
        axes.set_xlabel("frame", fontsize=7)
        axes.tick_params(labelsize=7)
        axes.hlines(ends[:-1] - 0.5, -0.5, part.input.shape[1] - 0.5, color="black", linewidth=0.5)
    left.set_yticks(ends - sizes / 2 - 0.5, [name for name, _ in part.feature_sets], fontsize=7)


def _plot_image_attribution(left: "Axes", right: "Axes", part: Attribution) -> None:
    middle = len(part.input) // 2
    for axes in (left, right):
        axes.imshow(part.input[middle].squeeze(), cmap="gray")
    right.imshow(part.attribution[middle], cmap="inferno", alpha=0.5)
    right.set_title("Grad-CAM", fontsize=8)
