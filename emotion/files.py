"""Cache directory, atomic writes, and locks."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs

from emotion.errors import EmotionError

log = logging.getLogger(__name__)


def cache_directory() -> Path:
    """Return the cache directory: the environment variable `EMOTION_CACHE`, else the user's cache."""
    configured = os.environ.get("EMOTION_CACHE")
    return Path(configured).expanduser() if configured else platformdirs.user_cache_path("emotion", appauthor=False)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` at the end of the block, and is removed if an exception is raised.

    Raises:
        EmotionError: the file cannot be written.
    """
    if path.exists() and not path.is_file():
        raise EmotionError(f"cannot write {path}: it is not a file; choose another one")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise EmotionError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: object) -> None:
    """Write plain data as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def fingerprint(content: object) -> str:
    """Return a hash of plain data with 16 hexadecimal digits, as a key of the cache."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def locked(path: Path, waiting_for: str, remedy: str = "set EMOTION_CACHE to another folder") -> Iterator[None]:
    """Hold a lock file during the block, and wait while another process holds it.

    Args:
        path: Lock file.
        waiting_for: Message that is logged before waiting.
        remedy: What to do if the lock file cannot be written, for the error message.

    Raises:
        EmotionError: the lock file cannot be written.
    """
    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            log.info("waiting: %s", waiting_for)
            lock.acquire()
    except OSError as error:
        raise EmotionError(f"cannot write {path.parent}: {error.strerror or error}; {remedy}") from error
    try:
        yield
    finally:
        lock.release()
