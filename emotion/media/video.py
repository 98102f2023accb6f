"""Decode the picture of a video file."""

from pathlib import Path

import numpy as np

from emotion.media.audio import MediaError


def read_middle_frame(path: Path) -> np.ndarray:
    """The frame in the middle of a video, shape (H, W, 3), uint8, red-green-blue.

    Raises:
        MediaError: the file cannot be decoded or holds no picture.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path}: has no picture")
            # The short clips that this is for are decoded whole sooner than they are searched for a key frame.
            frames = list(container.decode(video=0))
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: cannot be decoded ({error})") from error
    if not frames:
        raise MediaError(f"{path}: holds no frames")
    return frames[len(frames) // 2].to_ndarray(format="rgb24")
