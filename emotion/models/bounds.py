"""A limit on the memory that an untrusted configuration can allocate."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from emotion.errors import EmotionError

LARGEST = 1 << 30  # bytes of one tensor: no part of any model that is known here has a tenth of that


class _Bounded(TorchDispatchMode):
    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], arguments: tuple = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        made = function(*arguments, **(named or {}))
        if torch.is_tensor(made) and made.nbytes > LARGEST:  # memory that was asked for, but not yet used
            raise EmotionError(f"a tensor of the shape {tuple(made.shape)} is larger than that of any model")
        return made


@contextmanager
def bounded_tensors() -> Iterator[None]:
    """Refuse to make tensors of more than `LARGEST` bytes.

    Raises:
        EmotionError: one was made.
    """
    with _Bounded():
        yield
