"""Where things are cached, and files that are either whole or absent."""

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
    """The folder for everything that can be made again: `EMOTION_CACHE`, else the user's cache."""
    configured = os.environ.get("EMOTION_CACHE")
    return Path(configured).expanduser() if configured else platformdirs.user_cache_path("emotion", appauthor=False)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends well, and vanishes when it does not."""
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
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: object) -> None:
    """Write `content` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def fingerprint(content: object) -> str:
    """A short hash of plain data: the name under which something derived from it is cached."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def locked(path: Path, waiting_for: str, remedy: str = "set EMOTION_CACHE to another folder") -> Iterator[None]:
    """Hold the lock file `path`; while another process has it, say what is `waiting_for` and wait.

    Raises:
        EmotionError: its folder cannot be written, of which `remedy` is the remedy.
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
