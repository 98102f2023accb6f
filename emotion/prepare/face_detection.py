"""MTCNN, the face detector: the one place that knows it."""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from emotion.prepare.tracking import Found

log = logging.getLogger(__name__)

CONFIDENCE = 0.9
"""What MTCNN is less sure of is not taken for a face."""
_THRESHOLDS = (0.7, 0.7, 0.7)
"""Of its three networks. The first has 0.6 by default, which gives the others a fifth more to look at, in vain."""
_LEAST_PIXELS = 12  # what the first of MTCNN's networks sees


class FaceDetector:
    """MTCNN (Zhang et al., 2016, https://arxiv.org/abs/1604.02878), whose weights facenet-pytorch brings.

    It keeps no state, so that several threads may share it.
    """

    def __init__(self) -> None:
        from facenet_pytorch import MTCNN

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # With weights in this order its pooling takes a third of the time on a CPU.
        self.networks = MTCNN(thresholds=_THRESHOLDS, device=self.device).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def find(
        self, times: Sequence[float], pictures: Sequence[np.ndarray], smallest: float, scale: float = 1.0
    ) -> list[Found]:
        """The faces on a batch of pictures of equal size.

        Args:
            times: Of each picture, in seconds.
            pictures: Each of shape (H, W, 3), uint8, red-green-blue.
            smallest: Side of the smallest face that is looked for, as a fraction of the shorter side of the picture.
            scale: What the boxes are multiplied by, so that they fit the pictures before they were made smaller.
        """
        from facenet_pytorch.models.utils.detect_face import detect_face

        batch, mtcnn = np.stack(pictures), self.networks
        least = max(_LEAST_PIXELS, smallest * min(batch.shape[1:3]))
        try:
            faces, _ = detect_face(
                batch, least, mtcnn.pnet, mtcnn.rnet, mtcnn.onet, mtcnn.thresholds, mtcnn.factor, self.device
            )
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, ValueError):
            # MTCNN stumbles over candidates outside of the picture; one by one, the other pictures are safe.
            if len(pictures) == 1:
                log.debug("MTCNN failed on a picture", exc_info=True)
                return [_sure(times[0], np.zeros((0, 5)), scale)]
            return [self.find([t], [p], smallest, scale)[0] for t, p in zip(times, pictures, strict=True)]
        return [_sure(time, found, scale) for time, found in zip(times, faces, strict=True)]


def _sure(time: float, faces: np.ndarray, scale: float) -> Found:
    faces = np.asarray(faces, np.float64).reshape(-1, 5)
    faces = faces[faces[:, 4] >= CONFIDENCE]
    return Found(time, faces[:, :4] * scale, faces[:, 4])
