"""Safe unpacking of untrusted archives."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from rich.filesize import decimal

from emotion.errors import EmotionError, error_message, is_not_writable

_MAX_FILES = 100_000
_MAX_RATIO = 50
"""Maximum ratio of unpacked to packed size; audio has 2 to 4."""
_MIN_LIMIT = 64 << 20  # bytes; small archives may exceed the ratio up to this size


class ArchiveError(EmotionError):
    """Raised for an archive that is damaged or refused."""


def unpack(archive: Path, folder: Path, includes: Callable[[str], bool] = lambda path: True) -> None:
    """Unpack a ZIP archive.

    Args:
        archive: ZIP file; its checksums are verified.
        folder: Target; existing files are replaced.
        includes: Function from the path of a file in the archive to True if it is unpacked (default: all files).

    Raises:
        ArchiveError: the file is not a ZIP archive, is damaged, or holds paths outside of it, links, duplicate names,
            encrypted files, or too many or too large files. Only a damaged archive is unpacked in part.
        EmotionError: the disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.filename.endswith("/")]
            _check(archive, members)
            selected = [
                member for member in members if includes(member.filename) and not _is_macos_metadata(member.filename)
            ]
            require_space(folder, sum(member.file_size for member in selected), f"unpack {archive.name}")
            for member in selected:
                path = folder / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError, zlib.error) as error:
        if is_not_writable(error):
            raise
        raise ArchiveError(f"{archive} cannot be unpacked: {error_message(error)}") from error


def require_space(folder: Path, size: int, purpose: str) -> None:
    """Raise `EmotionError` if the disk of `folder` has less than `size` bytes left."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size > free:
        raise EmotionError(
            f"to {purpose}, {decimal(size)} are needed, and the disk of {folder} has {decimal(free)} left; free space "
            "or choose another folder with --to"
        )


def _check(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > _MAX_FILES:
        raise ArchiveError(f"{archive} is refused: it holds {len(members):,} files, more than any corpus")
    total, allowed = sum(member.file_size for member in members), _MAX_RATIO * archive.stat().st_size + _MIN_LIMIT
    if total > allowed:
        raise ArchiveError(f"{archive} is refused: it would grow to {decimal(total)}, more than {decimal(allowed)}")
    seen = set()
    for member in members:
        name, mode = member.filename, member.external_attr >> 16
        plain = PurePosixPath(name)
        if (
            not plain.parts
            or plain.is_absolute()
            or ".." in plain.parts
            or "\\" in name
            or ":" in name
            or not name.isprintable()
        ):
            raise ArchiveError(f"{archive} is refused: the path {name!r} leads out of it")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise ArchiveError(f"{archive} is refused: {name!r} is a link or a device, not a file")
        if member.flag_bits & 1:
            raise ArchiveError(f"{archive} is refused: {name!r} is encrypted")
        key = str(plain).casefold()
        if key in seen or any(str(parent).casefold() in seen for parent in plain.parents):
            raise ArchiveError(f"{archive} is refused: it holds {name!r} twice")
        seen.add(key)


def _is_macos_metadata(name: str) -> bool:
    """Return True for the files that macOS adds to archives."""
    return name.startswith("__MACOSX/") or PurePosixPath(name).name in (".DS_Store",)
