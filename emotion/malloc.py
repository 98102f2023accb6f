"""Settings of glibc's malloc; on other systems the functions do nothing."""

import ctypes
import sys

_M_ARENA_MAX = -8  # of malloc.h


def use_one_arena() -> None:
    """Let all threads that start later allocate from one arena.

    By default each thread has an arena of its own and keeps up to 64 MB of it when it ends. Preparing recordings would
    hold that much for every core. With two cores preparing takes as long; with many, threads may wait for each other.
    """
    if mallopt := _glibc_function("mallopt"):
        mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Return free memory to the system, so that the peaks of successive stages do not add up."""
    if malloc_trim := _glibc_function("malloc_trim"):
        malloc_trim(0)


def _glibc_function(name: str):  # noqa: ANN202
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
