"""Create a run directory for one process, and recognise one."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from emotion.errors import EmotionError

_DESCRIPTION = ("config.yaml", "overrides.yaml", "environment.json", "splits.csv")
_OF_STARTS = (".lock", "train.log", "error.txt")
"""Files that a run leaves that failed before it was described."""


class DirectoryTakenError(EmotionError):
    """Raised for a run directory that holds a run already, or in which another process is training."""


def claim_new(directory: Path) -> Path:
    """Create a directory that no other process has created.

    Args:
        directory: Path; `_1`, `_2` and so on are appended while it exists.

    Returns:
        The path of the directory.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        candidate = directory.with_name(f"{directory.name}_{number}") if number else directory
        try:
            candidate.mkdir()
        except FileExistsError:
            continue
        return candidate
    raise AssertionError  # unreachable: the loop has no end


@contextmanager
def claimed(run_dir: Path) -> Iterator[None]:
    """Lock a run directory against training by other processes; the lock of a process that is killed is released.

    Raises:
        DirectoryTakenError: another process is training in it.
    """
    path = run_dir / ".lock"
    lock = filelock.FileLock(path)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise DirectoryTakenError(
            f"{run_dir} is in use: another process is training there; choose another run_dir, or wait for its end"
        ) from None
    except OSError as error:
        raise EmotionError(f"cannot write {run_dir}: {error.strerror or error}; choose another run_dir") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def is_begun(run_dir: Path) -> bool:
    """Return True if a run directory holds a run that is finished or can be resumed."""
    return any((run_dir / name).exists() for name in ("metrics.json", "checkpoints/last.ckpt"))


def foreign_file(run_dir: Path) -> str:
    """Return the name of a file that no unfinished run left in a directory; empty if there is none."""
    if not run_dir.is_dir() or all((run_dir / name).is_file() for name in _DESCRIPTION):
        return ""
    return next((name for name in sorted(path.name for path in run_dir.iterdir()) if name not in _OF_STARTS), "")


def require(run_dir: Path) -> Path:
    """Return `run_dir` if it is a run directory.

    Raises:
        EmotionError: it is not.
    """
    if not (run_dir / "config.yaml").is_file():
        what = "holds no config.yaml" if run_dir.is_dir() else "does not exist"
        raise EmotionError(f"{run_dir} is not a run directory: it {what}; train.py prints the one that it makes")
    return run_dir
