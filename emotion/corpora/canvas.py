"""A canvas for the faces of the demo corpus."""

from functools import cache

import numpy as np
import numpy.typing as npt

SIZE = 224  # side of a frame, in pixels
SCALE = 2  # the canvas is larger than a frame by this factor
_FIXED_POINT = 4  # OpenCV draws at 1/16 pixel


class Canvas:
    """An image of twice the size of a frame, on which shapes are drawn with antialiasing.

    Coordinates are pixels of the frame relative to its centre; colours are blue, green and red in [0, 255].

    Args:
        image: Image, shape (2 * SIZE, 2 * SIZE, 3), uint8, changed in place.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.image = image

    def _pixels(self, points: npt.ArrayLike) -> np.ndarray:
        placed = np.asarray(points, float) + SIZE / 2
        return np.rint(placed * SCALE * 2**_FIXED_POINT).astype(np.int32)

    def fill(self, points: npt.ArrayLike, colour: np.ndarray) -> None:
        """Fill a polygon, shape (N, 2)."""
        import cv2

        cv2.fillPoly(self.image, [self._pixels(points)], _bgr(colour), cv2.LINE_AA, _FIXED_POINT)

    def line(self, points: npt.ArrayLike, colour: np.ndarray, width: float) -> None:
        """Draw a line through points, shape (N, 2); `width` in pixels."""
        import cv2

        thickness = max(1, round(width * SCALE))
        cv2.polylines(self.image, [self._pixels(points)], False, _bgr(colour), thickness, cv2.LINE_AA, _FIXED_POINT)

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, colour: np.ndarray) -> None:
        """Fill an ellipse around (x, y)."""
        self.fill((x, y) + _circle() * (half_width, half_height), colour)

    def shade(self, x: float, y: float, half_width: float, half_height: float, strength: float) -> None:
        """Multiply the brightness by 1 + `strength`, fading out towards the edge of an ellipse."""
        import cv2

        left, right = (round((SIZE / 2 + x + edge) * SCALE) for edge in (-half_width, half_width))
        top, bottom = (round((SIZE / 2 + y + edge) * SCALE) for edge in (-half_height, half_height))
        patch = self.image[top:bottom, left:right]
        patch[:] = cv2.multiply(patch, _fading_factor(*patch.shape[:2], strength), dtype=cv2.CV_8U)


@cache
def _fading_factor(height: int, width: int, strength: float) -> np.ndarray:
    """Return the factor of the brightness of each pixel, shape (height, width, 3), float32."""
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    fade = np.clip(1 - rows**2 - columns**2, 0, 1) ** 1.5
    return (1 + np.float32(strength) * fade)[..., None].repeat(3, axis=2)


def _bgr(colour: np.ndarray) -> tuple[float, ...]:
    return tuple(float(channel) for channel in np.clip(colour, 0, 255))


@cache
def _circle(points: int = 48) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def curve(*points: tuple[float, float], steps: int = 16) -> np.ndarray:
    """Return a quadratic curve through three points, shape (steps, 2)."""
    start, middle, end = np.array(points, float)
    return _bezier_weights(steps) @ np.stack([start, 2 * middle - (start + end) / 2, end])


@cache
def _bezier_weights(steps: int) -> np.ndarray:
    """Return the weights of the three points of a quadratic Bézier curve, shape (steps, 3)."""
    t = np.linspace(0, 1, steps)
    return np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)
