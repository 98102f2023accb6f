"""Unpack untrusted archives: nothing outside the directory, no links, no bombs."""

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
"""How many times as large as an archive its files may be; sound becomes two to four times as large."""
_ALWAYS = 64 << 20  # bytes that small archives may become


class ArchiveError(EmotionError):
    """It is damaged, or holds what no corpus needs."""


def unpack(archive: Path, folder: Path, wants: Callable[[str], bool] = lambda path: True) -> None:
    """Unpack the files of a zip archive for which `wants(path)`.

    Args:
        archive: A zip file; its checksums are verified.
        folder: Where to; what is there already is replaced.
        wants: Told the path of a file in the archive.

    Raises:
        ArchiveError: it is none, damaged, or holds paths that lead out of it, links, two files of one name, encrypted
            ones, or unreasonably many or large ones. Only of a damaged one some is unpacked.
        EmotionError: the disk has no room for it.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.filename.endswith("/")]
            _check(archive, members)
            wanted = [
                member for member in members if wants(member.filename) and not _is_macos_metadata(member.filename)
            ]
            require_space(folder, sum(member.file_size for member in wanted), f"unpack {archive.name}")
            for member in wanted:
                path = folder / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError, zlib.error) as error:
        if is_not_writable(error):
            raise
        raise ArchiveError(f"{archive} cannot be unpacked: {error_message(error)}") from error


def require_space(folder: Path, size: int, purpose: str) -> None:
    """Raise `EmotionError` where the disk of `folder` has less than `size` bytes left."""
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
    total, allowed = sum(member.file_size for member in members), _MAX_RATIO * archive.stat().st_size + _ALWAYS
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
    """What its Finder adds to archives."""
    return name.startswith("__MACOSX/") or PurePosixPath(name).name in (".DS_Store",)
