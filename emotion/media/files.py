"""What all media files have in common: what is wrong with them, and how FFmpeg opens them."""

from pathlib import Path
from typing import TYPE_CHECKING

from emotion.errors import EmotionError

if TYPE_CHECKING:
    import av

MOST_PIXELS = 1 << 26
"""Of a picture, 8192 × 8192: others are mistakes, or made to fill the memory."""


class MediaError(EmotionError):
    """A media file that cannot be used; the text says which and why."""


def require_file(path: Path) -> None:
    """Raise `MediaError` where there is no file, or one that libraries cannot be told of."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise MediaError(
            f"{path}: its name is no UTF-8; rename it, or set PYTHONUTF8=1 if the locale is the cause"
        ) from error


def open_media(path: Path) -> "av.container.InputContainer":
    """Open a file that FFmpeg knows.

    Raises:
        MediaError: there is no such file.
    """
    import av

    require_file(path)
    return av.open(str(path), options={"max_pixels": str(MOST_PIXELS)}, metadata_errors="replace")


def require_coding(stream: "av.stream.Stream", path: Path) -> None:
    """Raise `MediaError` where FFmpeg knows that there is something in the file `path`, but not how to decode it."""
    if stream.codec_context is None:
        raise MediaError(f"{path}: cannot be decoded (its coding is not known here)")


def undecodable() -> tuple[type[Exception], ...]:
    """What FFmpeg, and what binds it to Python, raise of damaged files."""
    import av

    return av.FFmpegError, OSError, ValueError


def last_clause(error: Exception) -> str:
    """What a library says of a file, without the rest."""
    text = getattr(error, "strerror", None) or str(error).rsplit(":", 1)[-1]
    return text.strip().rstrip(".") or type(error).__name__
