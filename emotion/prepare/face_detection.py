"""The face detector MTCNN."""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from emotion.prepare.tracking import FrameDetections

log = logging.getLogger(__name__)

CONFIDENCE = 0.9
"""Minimum probability of a detected face."""
_THRESHOLDS = (0.7, 0.7, 0.7)
"""Thresholds of the three networks. The default of the first, 0.6, costs a fifth more time and finds no more faces."""
_MIN_PIXELS = 12  # input size of the first network


class FaceDetector:
    """MTCNN (Zhang et al., 2016, https://arxiv.org/abs/1604.02878) with the weights of facenet-pytorch.

    It is stateless, so several threads may share an instance.
    """

    def __init__(self) -> None:
        from facenet_pytorch import MTCNN

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # In this memory format pooling takes a third of the time on a CPU.
        self.networks = MTCNN(thresholds=_THRESHOLDS, device=self.device)
        self.networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (an overload that torch lacks)

    @torch.no_grad()
    def detect(
        self, times: Sequence[float], images: Sequence[np.ndarray], min_face_fraction: float, scale: float = 1.0
    ) -> list[FrameDetections]:
        """Detect faces in a batch of images of equal size.

        Args:
            times: Time of each image, in seconds.
            images: RGB images, each of shape (H, W, 3), uint8.
            min_face_fraction: Side of the smallest detected face, as a fraction of the shorter side of the image.
            scale: Factor from the images to the frames from which they were scaled (default: 1).

        Returns:
            The faces in each image, with boxes in pixels of the frame.
        """
        from facenet_pytorch.models.utils.detect_face import detect_face

        batch, mtcnn = np.stack(images), self.networks
        min_size = max(_MIN_PIXELS, min_face_fraction * min(batch.shape[1:3]))
        try:
            faces, _ = detect_face(
                batch, min_size, mtcnn.pnet, mtcnn.rnet, mtcnn.onet, mtcnn.thresholds, mtcnn.factor, self.device
            )
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, ValueError):
            # MTCNN fails on candidates outside of an image; one by one, only that image is lost.
            if len(images) == 1:
                log.debug("MTCNN failed on an image", exc_info=True)
                return [_confident_detections(times[0], np.zeros((0, 5)), scale)]
            return [self.detect([t], [i], min_face_fraction, scale)[0] for t, i in zip(times, images, strict=True)]
        return [_confident_detections(time, own, scale) for time, own in zip(times, faces, strict=True)]


def _confident_detections(time: float, faces: np.ndarray, scale: float) -> FrameDetections:
    faces = np.asarray(faces, np.float64).reshape(-1, 5)
    faces = faces[faces[:, 4] >= CONFIDENCE]
    return FrameDetections(time, faces[:, :4] * scale, faces[:, 4])
