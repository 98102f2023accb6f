"""Detection of byte-identical files, which must not be in two splits."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path

_HEAD = 1 << 16  # bytes; nearly all files that differ do so there


def find_copies(directory: Path, rows: Iterable[Mapping[str, str]]) -> list[list[str]]:
    """Group recordings that have a byte-identical file.

    Args:
        directory: Directory of the corpus.
        rows: Rows of a table of recordings, with `recording`, `audio` and `video`.

    Returns:
        Groups of keys of recordings with identical files; files that are empty or cannot be read are skipped.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for path in {row["audio"], row["video"]} - {""}:
            owners[path].add(row["recording"])
    groups: list[list[str]] = [sorted(owners)]
    for identity in (_size, lambda path: _digest(path, _HEAD), _digest):
        groups = [part for group in groups for part in _divide(directory, group, identity)]
    contents = ({recording for path in group for recording in owners[path]} for group in groups)
    return [sorted(recordings) for recordings in contents if len(recordings) > 1]


def _divide(directory: Path, paths: Iterable[str], identity: Callable[[Path], Hashable]) -> list[list[str]]:
    """Group paths by the result of `identity`; groups of one path, and empty files, are left out."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for path in paths:
        try:
            if own := identity(directory / path):
                groups[own].append(path)
        except OSError:  # reported when the file is decoded
            continue
    return [group for group in groups.values() if len(group) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _digest(path: Path, limit: int | None = None) -> bytes:
    with open(path, "rb") as file:
        if limit:
            return hashlib.blake2b(file.read(limit)).digest()
        return hashlib.file_digest(file, "blake2b").digest()
