"""Checks of media files, and how FFmpeg opens them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from emotion.errors import EmotionError

if TYPE_CHECKING:
    import av.container
    import av.stream

MAX_PIXELS = 1 << 26
"""Maximum number of pixels of an image, 8192 × 8192; larger ones are errors, or made to fill the memory."""
_HEAD = 256  # bytes by which the content of a file is identified
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
    (b"#extm3u", "is a playlist, not a recording; give the files that it lists"),
    (b"ffconcat", "is a playlist, not a recording; give the files that it lists"),
    (b"v=0", "is a description of a stream, not a recording"),
)
"""First bytes, in lower case, of files that are often mistaken for recordings, and the error message of each."""


class MediaError(EmotionError):
    """Raised for a media file that cannot be used, with its path and the reason."""


def require_file(path: Path) -> None:
    """Raise `MediaError` if `path` is not a file, is empty, or is known not to be a media file."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise MediaError(
            f"{path}: its name is not valid UTF-8; rename it, or set PYTHONUTF8=1 if the locale is the cause"
        ) from error
    head = read_head(path)
    if not head:
        raise MediaError(f"{path}: the file is empty (zero bytes)")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, description in _NOT_MEDIA:
        if start.startswith(beginning):
            raise MediaError(f"{path}: {description}")


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, by which its content is identified.

    Raises:
        MediaError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror or error})") from error


@contextmanager
def open_media(path: Path) -> Iterator["av.container.InputContainer"]:
    """Open a file with FFmpeg, and close it at the end of the block.

    FFmpeg is given an open file and no protocol, so a file that refers to other files or to URLs, such as a playlist,
    does not make it open them.

    Raises:
        MediaError: see `require_file`.
    """
    import av

    require_file(path)
    options = {"max_pixels": str(MAX_PIXELS), "protocol_whitelist": "none"}
    with open(path, "rb") as file, av.open(file, "r", options=options, metadata_errors="replace") as container:
        yield container


def start_time(container: "av.container.InputContainer") -> float | None:
    """Return the start of a container's clock, in seconds, or None if it is unknown.

    Audio and video are both counted from it, as players do; many cameras start at another time than 0.
    """
    import av

    return None if container.start_time is None else container.start_time / av.time_base


def require_coding(stream: "av.stream.Stream", path: Path) -> None:
    """Raise `MediaError` if FFmpeg has no decoder for a stream of the file `path`."""
    if stream.codec_context is None:
        raise MediaError(f"{path}: cannot be decoded (its coding is unknown)")


def decoding_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that PyAV raises for damaged files."""
    from av.error import FFmpegError

    return FFmpegError, OSError, ValueError


def last_clause(error: Exception) -> str:
    """Return the message of a library about a file, without its path."""
    text = getattr(error, "strerror", None) or str(error).rsplit(":", 1)[-1]
    return text.strip().rstrip(".") or type(error).__name__
