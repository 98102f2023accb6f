"""What the C library does with memory that is freed; where it is not glibc, nothing is changed."""

import ctypes
import sys

_M_ARENA_MAX = -8  # of malloc.h


def share_heap() -> None:
    """Let all threads that are yet to start allocate from one heap.

    Otherwise each has its own, of which it keeps up to 64 MB when it ends: preparing recordings would hold that for
    every core, for good. On two cores preparing takes as long; on many, threads may wait for each other.
    """
    if mallopt := _of_glibc("mallopt"):
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return memory that is free to the system, so that one stage's peak does not add to that of the next."""
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def _of_glibc(name: str):  # noqa: ANN202
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
