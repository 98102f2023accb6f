"""Training of a network anew on train and dev, after dev has selected the epoch."""

import logging
from collections.abc import Callable
from pathlib import Path

from emotion.errors import EmotionError, counted
from emotion.models.base import Classifier
from emotion.models.build import checkpoint_state
from emotion.training.calibration import scale_outputs
from emotion.training.callbacks import AtomicCheckpoints

log = logging.getLogger(__name__)

_BEST, _SELECTED, _INITIAL = "best.ckpt", "selected.ckpt", "initial.ckpt"
"""Checkpoints: the result; the epoch that dev selected, once the result has seen dev; before the first step."""


def restore_selected(checkpoints: Path) -> None:
    """Restore the checkpoint of the epoch that dev selected, in a run that is resumed after its refit."""
    if (checkpoints / _SELECTED).exists():
        (checkpoints / _SELECTED).replace(checkpoints / _BEST)


def keep_initial_weights(classifier: Classifier, checkpoints: Path, is_resumed: bool) -> None:
    """Write the weights before the first step, which a resumed run needs too.

    Args:
        classifier: Classifier before the first step.
        checkpoints: Directory of the checkpoints.
        is_resumed: True if the run is resumed, and should have the file.

    Raises:
        EmotionError: a resumed run was started without refit.
    """
    path = checkpoints / _INITIAL
    if not is_resumed:
        AtomicCheckpoints().save_checkpoint({"state_dict": classifier.state_dict()}, path)
    elif not path.exists():
        raise EmotionError(
            f"{checkpoints.parent} was started without training.refit=true, which cannot be added now; leave it out"
        )


def refit(classifier: Classifier, checkpoints: Path, temperature: float | None, train: Callable[[int], None]) -> None:
    """Train a classifier from its initial weights for as many epochs as dev selected.

    Args:
        classifier: Changed in place.
        checkpoints: Directory of the checkpoints, of which `best.ckpt` is replaced.
        temperature: Temperature of the selected epoch, or None. No recordings are left to fit another one.
        train: Function that trains the classifier on train and dev, for a number of epochs.
    """
    best = checkpoints / _BEST
    content = AtomicCheckpoints().load_checkpoint(best)
    epochs = int(content["epoch"]) + 1
    log.info("training anew on train and dev, for %s", counted(epochs, "epoch"))
    classifier.load_state_dict(AtomicCheckpoints().load_checkpoint(checkpoints / _INITIAL)["state_dict"])
    train(epochs)
    if temperature is not None:
        scale_outputs(classifier, temperature)
    best.replace(checkpoints / _SELECTED)
    content["state_dict"] |= checkpoint_state(classifier)
    AtomicCheckpoints().save_checkpoint(content, best)
