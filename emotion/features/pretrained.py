"""Published weights: by name from the cache or a download, or from a file."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from emotion.errors import EmotionError, error_message

Known = Mapping[str, tuple[str, Callable[[], dict[str, Tensor]]]]
"""Published weights by name: their source, and a function that loads them."""


_RECONSTRUCT = np._core.multiarray._reconstruct  # pyright: ignore[reportAttributeAccessIssue] (NumPy's stubs lack it)
_ARRAYS = [
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8")),
    *((_RECONSTRUCT, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
"""The names that pickled NumPy arrays need, since some weights were published as such; none executes code."""


def from_url(url: str) -> tuple[str, Callable[[], dict[str, Tensor]]]:
    """Return an entry of `Known` for weights at an address, kept in torch hub's cache."""
    options = {"map_location": "cpu", "progress": False, "weights_only": True}
    return url, lambda: torch.hub.load_state_dict_from_url(url, **options)


def weights_of(name: str, known: Known, key: str = "weights") -> dict[str, Tensor]:
    """Load weights by name, from torch hub's cache or its download, or from a file.

    Args:
        name: Name in `known`, or path of a file.
        known: Published weights by name: their source, and a function that loads them.
        key: Name of the option, for messages (default: `weights`).

    Returns:
        Tensors by name.

    Raises:
        EmotionError: the weights cannot be downloaded, or the file holds something else.
    """
    if name in known:
        where, get = known[name]
        try:
            with torch.serialization.safe_globals(_ARRAYS):
                return _tensors(get(), name)
        except Exception as error:  # a download fails with many types of exceptions
            reason = error_message(error)
            raise EmotionError(
                f"the weights {name} could not be downloaded from {where} ({reason}); get the file by other means and "
                f"pass it with {key}=FILE"
            ) from error
    if not Path(name).is_file():
        raise EmotionError(f"{key}={name} is neither a file nor one of: none, {', '.join(known)}")
    try:
        with torch.serialization.safe_globals(_ARRAYS):
            loaded = torch.load(name, map_location="cpu", weights_only=True)
    except Exception as error:  # as above
        raise EmotionError(f"{name} does not hold weights that can be read safely") from error
    return _tensors(loaded, name)


def _tensors(loaded: object, name: str) -> dict[str, Tensor]:
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor | np.ndarray) for value in loaded.values()):
        raise EmotionError(f"{name} does not hold weights: a dictionary of tensors is required")
    return {key: torch.as_tensor(value) for key, value in loaded.items()}


def fill(layers: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Load weights into layers.

    Args:
        layers: Module, changed in place.
        weights: Tensors by name.
        name: Source of the weights, for messages.

    Raises:
        EmotionError: the weights are of another network.
    """
    try:
        layers.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise EmotionError(
            f"{name} holds the weights of another network: {' '.join(str(error).split())[:150]}"
        ) from error
