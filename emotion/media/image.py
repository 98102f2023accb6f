"""Decode single images."""

import os
from pathlib import Path

from emotion.media.files import MOST_PIXELS, MediaError

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))  # which OpenCV reads when it is imported

import cv2
import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


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
    """A picture in a file; its time is 0.

    Raises:
        MediaError: the file is missing, or no image.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise MediaError(f"{path}: no such file")
        data = np.fromfile(path, np.uint8)  # cv2.imread knows no names that are not ASCII on some systems
        try:
            pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None  # turned as its Exif data say
        except cv2.error as error:  # such as one of too many pixels
            raise MediaError(f"{path}: cannot be decoded as an image") from error
        if pixels is None:
            raise MediaError(f"{path}: cannot be decoded as an image")
        super().__init__(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def is_image(path: str | Path) -> bool:
    """Whether a file is an image, by its name."""
    return str(path).lower().endswith(IMAGE_SUFFIXES)
