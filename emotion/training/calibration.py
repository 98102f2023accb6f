"""Temperature scaling on dev (Guo et al., 2017, https://arxiv.org/abs/1706.04599)."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from emotion.batch import Batch, on_device
from emotion.models.base import Classifier
from emotion.models.build import checkpoint_state
from emotion.training.callbacks import AtomicCheckpoints

_LIMIT = math.log(20.0)  # of the logarithm of a temperature
_UNCALIBRATED = "uncalibrated"  # key in a checkpoint


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that minimises the mean negative log-likelihood of `softmax(logits / temperature)`.

    Args:
        logits: Shape (n, num_classes).
        labels: True class indices, shape (n,).

    Returns:
        The temperature, between 0.05 and 20.

    Example:
        >>> logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])  # right in two of three cases
        >>> round(fit_temperature(logits, np.array([0, 0, 1])), 2)
        3.17
    """
    own = logits[np.arange(len(labels)), labels]

    def loss(logarithm: float) -> float:
        scale = math.exp(-logarithm)
        return float((np.logaddexp.reduce(logits * scale, axis=1) - own * scale).mean())

    return math.exp(minimize_scalar(loss, bounds=(-_LIMIT, _LIMIT), method="bounded", options={"xatol": 1e-6}).x)


@torch.no_grad()
def calibrate(
    classifier: Classifier, batches: Iterable[Batch], device: torch.device, checkpoint: Path, factor: float = 1.0
) -> float | None:
    """Divide the output layer by the temperature of dev and a factor, in the classifier and in a checkpoint.

    Predictions stay the same and probabilities become calibrated everywhere the model is used: in fusions and in
    exported files too. The checkpoint keeps the weights of before, so that calibrating it again gives the same result.

    Args:
        classifier: Classifier with the weights of the checkpoint.
        batches: Batches of dev.
        device: Device of the computation.
        checkpoint: Checkpoint of the best epoch.
        factor: Factor of the temperature of dev (default: 1).

    Returns:
        The temperature, with its factor; None if the classifier ends in no linear layer, whose outputs are then left
        as they are.
    """
    layer = _output_layer(classifier)
    if layer is None:
        return None
    content = AtomicCheckpoints().load_checkpoint(checkpoint)
    before = content.get(_UNCALIBRATED) or {name: value.clone() for name, value in layer.state_dict().items()}
    layer.load_state_dict(before)
    temperature = factor * fit_temperature(*_outputs(classifier.to(device), batches, device))
    scale_outputs(classifier, temperature)
    content["state_dict"] = content["state_dict"] | checkpoint_state(classifier)
    content[_UNCALIBRATED] = before
    AtomicCheckpoints().save_checkpoint(content, checkpoint)
    return temperature


@torch.no_grad()
def scale_outputs(classifier: Classifier, temperature: float) -> None:
    """Divide the output layer of a classifier, if it is a linear one, by a temperature."""
    layer = _output_layer(classifier)
    for parameter in layer.parameters() if layer else ():
        parameter.div_(temperature)


def _output_layer(classifier: Classifier) -> nn.Linear | None:
    layers = list(classifier.head.modules())
    return layers[-1] if isinstance(layers[-1], nn.Linear) else None


def _outputs(classifier: Classifier, batches: Iterable[Batch], device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, up to a constant for each recording, and labels."""
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in batches:
        logits.append(classifier.predict(on_device(batch, device)).double().clamp(min=1e-30).log().cpu())
        labels.append(batch["label"])
    return torch.cat(logits).numpy(), torch.cat(labels).numpy()
