"""WebDataset shards: tar files whose members with the same name, apart from the suffix, are one recording."""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from emotion.errors import EmotionError, error_message

_TEXTS = (".txt", ".cls")


def shards_by_split(folder: Path) -> dict[str, list[Path]]:
    """Return the tar files in a folder by the first word of their names, such as `train`; empty if there are none."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.tar")):
        found.setdefault(re.split(r"[^a-z]", path.name.lower())[0] or "train", []).append(path)
    return found


def read_shards(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Yield the recordings of tar files, one after another.

    Args:
        paths: The tar files. Nothing is unpacked, whatever the names of their members are.

    Yields:
        `__key__`, the name; the content of `.json`; the text of `.txt` and `.cls` under `text` and `emotion`; and each
        other member by its suffix, as a dictionary with `path` and `bytes`.

    Raises:
        EmotionError: a file is damaged.
    """
    for path in paths:
        try:
            with tarfile.open(path) as shard:
                row: dict[str, Any] = {}
                for member in shard:
                    if not member.isfile():
                        continue
                    key, suffix = _split_name(member.name)
                    if row and row["__key__"] != key:
                        yield row
                        row = {}
                    stream = shard.extractfile(member)
                    content = stream.read() if stream else b""
                    row |= {"__key__": key} | _value(suffix, member.name, content)
                if row:
                    yield row
        except (OSError, tarfile.TarError, ValueError) as error:
            raise EmotionError(f"{path} is damaged: {error_message(error)}") from error


def shards_fingerprint(paths: list[Path]) -> str:
    """Return a digest of the names, sizes and times of files."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _split_name(name: str) -> tuple[str, str]:
    """Return the name up to the first point of its last part, and the suffix, as WebDataset does."""
    path = PurePosixPath(name)
    stem, _, suffix = path.name.partition(".")
    return (path.parent / stem).as_posix(), f".{suffix.lower()}"


def _value(suffix: str, name: str, content: bytes) -> dict[str, Any]:
    if suffix == ".json":
        try:
            described = json.loads(content)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return described if isinstance(described, dict) else {}
    if suffix in _TEXTS:
        return {"emotion" if suffix == ".cls" else "text": content.decode("utf-8", "replace").strip()}
    return {suffix: {"path": PurePosixPath(name).name, "bytes": content}}
