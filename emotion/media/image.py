"""Decoding of images. OpenCV is imported when it is used, since audio needs none."""

import os
from pathlib import Path

import numpy as np

from emotion.media.files import MAX_PIXELS, MediaError, read_head, require_file
from emotion.media.suffixes import IMAGE_SUFFIXES

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))  # which OpenCV reads when it is imported

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", b"P5\n", b"P6\n")
"""First bytes of JPEG, PNG, BMP, TIFF (twice), JPEG 2000, PGM and PPM. FFmpeg reads GIF, which may be animated."""
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")
_ORIENTATION = 0x0112  # the tag of Exif


class StillImage:
    """An image with the interface of `VideoFrame`.

    Args:
        pixels: RGB pixels, shape (H, W, 3), uint8.
        time: Time of the frame, in seconds (default: 0).

    Attributes:
        size: Width and height, in pixels.
    """

    def __init__(self, pixels: np.ndarray, time: float = 0.0) -> None:
        self._pixels, self.time = pixels, time
        self.size = (pixels.shape[1], pixels.shape[0])

    def pixels(self, longest: int | None = None) -> np.ndarray:
        """Return RGB pixels, shape (H, W, 3), uint8.

        Args:
            longest: Length to which the longer side is scaled, in pixels; None keeps the size.
        """
        if not longest or longest == max(self.size):
            return self._pixels
        import cv2

        scale = longest / max(self.size)
        width, height = (max(1, round(side * scale)) for side in self.size)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return cv2.resize(self._pixels, (width, height), interpolation=method)


class Image(StillImage):
    """An image file, rotated by its metadata.

    Raises:
        MediaError: the file is missing or not an image.
    """

    def __init__(self, path: Path) -> None:
        require_file(path)
        pixels = _decode_heif(path) if _is_heif(read_head(path)) else _decode(path)
        super().__init__(pixels)


def is_image(path: str | Path) -> bool:
    """Return True if a file is an image, by its content; by its suffix if the file does not exist."""
    path = Path(path)
    if not path.is_file():
        return path.suffix.lower() in IMAGE_SUFFIXES
    head = read_head(path)
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return is_webp or head.startswith(_SIGNATURES) or _is_heif(head)


def _is_heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _decode(path: Path) -> np.ndarray:
    import cv2

    data = np.fromfile(path, np.uint8)  # on some systems cv2.imread does not open names that are not ASCII
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)  # rotated by its Exif orientation
    except cv2.error as error:  # such as for an image of too many pixels
        raise MediaError(f"{path}: cannot be decoded as an image") from error
    if pixels is None:
        raise MediaError(f"{path}: cannot be decoded as an image")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _decode_heif(path: Path) -> np.ndarray:
    """Decode HEIC and AVIF, which OpenCV does not read, or does not rotate."""
    import PIL.Image
    import PIL.ImageOps
    from pillow_heif import register_heif_opener

    register_heif_opener()
    try:
        with PIL.Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MediaError(f"{path}: cannot be decoded as an image (it has more than {MAX_PIXELS:,} pixels)")
            orientation = image.info.get("original_orientation")
            if orientation and not _has_own_rotation(path):
                image.getexif()[_ORIENTATION] = orientation
            return np.array(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, RuntimeError, SyntaxError) as error:
        raise MediaError(f"{path}: cannot be decoded as an image") from error


def _has_own_rotation(path: Path) -> bool:
    """Return True if a HEIF file holds a rotation or mirroring of its own, which overrides that of Exif."""
    data = path.read_bytes()
    start = data.find(b"ipco")
    size = int.from_bytes(data[start - 4 : start], "big") if start > 0 else 0
    properties = data[start : start + size]
    return b"irot" in properties or b"imir" in properties
