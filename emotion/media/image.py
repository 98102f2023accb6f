"""Decode single images."""

import os
from pathlib import Path

from emotion.media.files import MOST_PIXELS, MediaError, head_of, require_file
from emotion.media.suffixes import IMAGE_SUFFIXES

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))  # which OpenCV reads when it is imported

import cv2
import numpy as np

_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", b"P5\n", b"P6\n")
"""Of JPEG, PNG, BMP, TIFF (twice), JPEG 2000, PGM and PPM. GIF is left to FFmpeg, since it may move."""
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")
_ORIENTATION = 0x0112  # the tag of Exif


class StillPicture:
    """Pixels, with what a frame of a video has.

    Args:
        pixels: Red-green-blue, shape (H, W, 3), uint8.
        time: In seconds.

    Attributes:
        time: In seconds.
        size: Width and height, in pixels.
    """

    def __init__(self, pixels: np.ndarray, time: float = 0.0) -> None:
        self._pixels, self.time = pixels, time
        self.size = (pixels.shape[1], pixels.shape[0])

    def pixels(self, longest: int | None = None) -> np.ndarray:
        """Red-green-blue, shape (H, W, 3), uint8; `longest` is what the longer side is scaled to, if anything."""
        if not longest or longest == max(self.size):
            return self._pixels
        scale = longest / max(self.size)
        width, height = (max(1, round(side * scale)) for side in self.size)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return cv2.resize(self._pixels, (width, height), interpolation=method)


class Image(StillPicture):
    """A picture in a file, rotated by its metadata; its time is 0.

    Raises:
        MediaError: the file is missing, or no image.
    """

    def __init__(self, path: Path) -> None:
        require_file(path)
        pixels = _decode_heif(path) if _is_heif(head_of(path)) else _decode(path)
        super().__init__(pixels)


def is_image(path: str | Path) -> bool:
    """Return True if a file holds an image, by its content; by its suffix if there is no such file."""
    path = Path(path)
    if not path.is_file():
        return path.suffix.lower() in IMAGE_SUFFIXES
    head = head_of(path)
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return is_webp or head.startswith(_BEGINNINGS) or _is_heif(head)


def _is_heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _decode(path: Path) -> np.ndarray:
    data = np.fromfile(path, np.uint8)  # cv2.imread knows no names that are not ASCII on some systems
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)  # turned as its Exif data say
    except cv2.error as error:  # such as one of too many pixels
        raise MediaError(f"{path}: cannot be decoded as an image") from error
    if pixels is None:
        raise MediaError(f"{path}: cannot be decoded as an image")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _decode_heif(path: Path) -> np.ndarray:
    """Decode HEIC and AVIF, which OpenCV does not read, or not as it is to be shown."""
    import PIL.Image
    import PIL.ImageOps
    from pillow_heif import register_heif_opener

    register_heif_opener()
    try:
        with PIL.Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise MediaError(f"{path}: cannot be decoded as an image (it has more than {MOST_PIXELS:,} pixels)")
            orientation = image.info.get("original_orientation")
            if orientation and not _turns_itself(path):
                image.getexif()[_ORIENTATION] = orientation
            return np.array(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, RuntimeError, SyntaxError) as error:
        raise MediaError(f"{path}: cannot be decoded as an image") from error


def _turns_itself(path: Path) -> bool:
    """Return True if a HEIF file holds a turn or a mirroring of its own, which counts in the place of that of Exif."""
    data = path.read_bytes()
    start = data.find(b"ipco")
    size = int.from_bytes(data[start - 4 : start], "big") if start > 0 else 0
    properties = data[start : start + size]
    return b"irot" in properties or b"imir" in properties
