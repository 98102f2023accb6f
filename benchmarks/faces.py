"""Compare the preparation of faces with MTCNN on every frame at full size, decoding included.

`EMOTION_DATA=DIR python benchmarks/faces.py` uses six demo videos, scaled to 1280×720, and the real clips in
`ravdess_faces/clips`. The boxes are compared on the frames that are kept. PyAV, with which videos are read, is compared
with OpenCV.
"""

import os
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import torch
from facenet_pytorch import MTCNN

from emotion.corpora.demo import Demo
from emotion.media.video import frame_times, read_frames
from emotion.prepare.faces import FaceOptions, prepare_faces

TAKES = tuple(f"{number + 2:02}-01-01-01-{actor:02}" for number, actor in enumerate((1, 2, 7, 12, 18, 24)))


def main() -> None:
    """Prepare the same clips in both ways and print the ratio."""
    real = Path(os.environ.get("EMOTION_DATA", "../shared/data")) / "ravdess_faces" / "clips"
    with tempfile.TemporaryDirectory() as folder:
        clips = _scaled_demo(Path(folder)) + sorted(real.glob("*.mp4"))
        frames = sum(len(frame_times(clip)) for clip in clips)
        decoding = {"PyAV": min(_seconds_with_pyav(clips) for _ in range(3))}
        decoding["OpenCV"] = min(_seconds_with_opencv(clips) for _ in range(3))
        seconds, faces = _ours(clips, Path(folder) / "cache")
        their_seconds, boxes = _theirs(clips)
    print(f"{len(clips)} clips, {frames} frames, {torch.get_num_threads()} threads")
    av_seconds, cv_seconds = decoding["PyAV"], decoding["OpenCV"]
    print(f"every fourth frame as RGB: OpenCV {cv_seconds:.2f} s, PyAV {av_seconds:.2f} s")
    overlap = [_overlap(box, boxes[key]) for key, box in faces.items() if boxes.get(key) is not None]
    print(f"MTCNN on every frame at full size: {their_seconds:.1f} s, {frames / their_seconds:.1f} frames a second")
    faster = their_seconds / seconds
    print(f"prepare_faces: {seconds:.2f} s, {frames / seconds:.0f} frames a second: {faster:.1f} times faster")
    print(f"intersection over union of {len(overlap)} boxes: median {np.median(overlap):.2f}, least {min(overlap):.2f}")


def _scaled_demo(folder: Path) -> list[Path]:
    demo = Demo()
    root = demo.locate(None)
    demo.ensure_video(root, [f"demo/01-{take}" for take in TAKES])
    return [_scale(root / f"Actor_{take[-2:]}" / f"01-01-{take}.mp4", folder / f"{take}.mp4") for take in TAKES]


def _scale(source: Path, target: Path) -> Path:
    with av.open(str(source)) as container:
        rate = Fraction(container.streams.video[0].average_rate)
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for frame in read_frames(source):
            pixels = _letterboxed(frame.pixels())
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return target


def _seconds_with_pyav(clips: list[Path]) -> float:
    start = time.perf_counter()
    for clip in clips:
        for number, frame in enumerate(read_frames(clip)):
            if number % 4 == 0:
                frame.pixels()
    return time.perf_counter() - start


def _seconds_with_opencv(clips: list[Path]) -> float:
    start = time.perf_counter()
    for clip in clips:
        video = cv2.VideoCapture(str(clip))
        number = 0
        while video.grab():
            if number % 4 == 0:
                cv2.cvtColor(video.retrieve()[1], cv2.COLOR_BGR2RGB)
            number += 1
        video.release()
    return time.perf_counter() - start


def _letterboxed(pixels: np.ndarray) -> np.ndarray:
    scale = min(1280 / pixels.shape[1], 720 / pixels.shape[0])
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)[:720, :1280]
    right, below = 1280 - pixels.shape[1], 720 - pixels.shape[0]
    return cv2.copyMakeBorder(pixels, 0, below, right // 2, right - right // 2, cv2.BORDER_REPLICATE)


def _ours(clips: list[Path], cache: Path) -> tuple[float, dict[tuple[str, float], np.ndarray]]:
    table = pd.DataFrame({"recording": [clip.stem for clip in clips], "video": [str(clip) for clip in clips]})
    prepare_faces(table[:1], Path("/"), FaceOptions(), cache=cache)  # imports and loads everything once
    start = time.perf_counter()
    store = prepare_faces(table, Path("/"), FaceOptions(frames=15), cache=cache)
    seconds = time.perf_counter() - start
    boxes = {}
    for name, row in store.index.iterrows():
        for box in store.columns["boxes"][int(row["offset"]) : int(row["offset"]) + int(row["length"])]:
            boxes[name, round(float(box[0]), 2)] = box[1:5]
    return seconds, boxes


def _theirs(clips: list[Path]) -> tuple[float, dict[tuple[str, float], np.ndarray | None]]:
    detector, boxes = MTCNN(select_largest=True), {}
    start = time.perf_counter()
    for clip in clips:
        for frame in read_frames(clip):
            found, _ = detector.detect(frame.pixels())
            boxes[clip.stem, round(frame.time, 2)] = None if found is None else found[0]
    return time.perf_counter() - start, boxes


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes: left, top, right, bottom."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


if __name__ == "__main__":
    main()
