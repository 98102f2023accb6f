"""What all media files have in common: what is wrong with them, and how FFmpeg opens them."""

from pathlib import Path
from typing import TYPE_CHECKING

from emotion.errors import EmotionError

if TYPE_CHECKING:
    import av

MOST_PIXELS = 1 << 26
"""Of a picture, 8192 × 8192: others are mistakes, or made to fill the memory."""
_HEAD = 256  # bytes that tell what a file is
_NOT_MEDIA = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the recording; fetch it with git lfs pull"),
    (b"<!doctype html", "is an HTML page, not a recording; download it again"),
    (b"<html", "is an HTML page, not a recording; download it again"),
    (b"<?xml", "is an XML document, not a recording; download it again"),
    (b'{"', "is a JSON document, not a recording; download it again"),
    (b"pk\x03\x04", "is a ZIP archive, not a recording; unpack it"),
    (b"\x1f\x8b\x08", "is a gzip archive, not a recording; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive, not a recording; unpack it"),
    (b"rar!\x1a\x07", "is a RAR archive, not a recording; unpack it"),
    (b"%pdf-", "is a PDF document, not a recording"),
)
"""How files that are often found in the place of recordings begin, in lower case, and what to say of them."""


class MediaError(EmotionError):
    """Raised for a media file that cannot be used, with its path and the reason."""


def require_file(path: Path) -> None:
    """Raise `MediaError` if `path` is no file, is empty, or is known to hold something else than media."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise MediaError(
            f"{path}: its name is no UTF-8; rename it, or set PYTHONUTF8=1 if the locale is the cause"
        ) from error
    head = head_of(path)
    if not head:
        raise MediaError(f"{path}: the file is empty (zero bytes)")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, description in _NOT_MEDIA:
        if start.startswith(beginning):
            raise MediaError(f"{path}: {description}")


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file, which tell what it is whatever its suffix.

    Raises:
        MediaError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror or error})") from error


def open_media(path: Path) -> "av.container.InputContainer":
    """Open a file that FFmpeg knows.

    Raises:
        MediaError: there is no such file.
    """
    import av

    require_file(path)
    return av.open(str(path), options={"max_pixels": str(MOST_PIXELS)}, metadata_errors="replace")


def start_of(container: "av.container.InputContainer") -> float | None:
    """Return when the clock of a container begins, in seconds, or None if it does not say.

    Sound and picture are both counted from there, as players do: many cameras start at other times than 0.
    """
    import av

    return None if container.start_time is None else container.start_time / av.time_base


def require_coding(stream: "av.stream.Stream", path: Path) -> None:
    """Raise `MediaError` where FFmpeg knows that there is something in the file `path`, but not how to decode it."""
    if stream.codec_context is None:
        raise MediaError(f"{path}: cannot be decoded (its coding is not known here)")


def undecodable() -> tuple[type[Exception], ...]:
    """What FFmpeg, and what binds it to Python, raise of damaged files."""
    import av

    return av.FFmpegError, OSError, ValueError


def last_clause(error: Exception) -> str:
    """Return the message of a library about a file, without its path."""
    text = getattr(error, "strerror", None) or str(error).rsplit(":", 1)[-1]
    return text.strip().rstrip(".") or type(error).__name__
