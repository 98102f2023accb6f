"""A limit on the memory that an untrusted configuration can allocate."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from emotion.errors import EmotionError

MAX_TENSOR_BYTES = 1 << 30  # ten times the largest tensor of any model of this package


class _Bounded(TorchDispatchMode):
    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], arguments: tuple = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        made = function(*arguments, **(named or {}))
        if torch.is_tensor(made) and made.nbytes > MAX_TENSOR_BYTES:  # allocated, but not written yet
            raise EmotionError(f"a tensor of the shape {tuple(made.shape)} is larger than that of any model")
        return made


@contextmanager
def bounded_tensors() -> Iterator[None]:
    """Refuse tensors of more than `MAX_TENSOR_BYTES` in the block.

    Raises:
        EmotionError: a tensor is too large.
    """
    with _Bounded():
        yield
