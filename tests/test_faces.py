"""Tests of face detection, tracking and cropping on drawn and on real faces."""

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from emotion.errors import EmotionError
from emotion.media.audio import read_audio
from emotion.media.files import MediaError
from emotion.media.video import frame_times, read_frames, read_middle_frame
from emotion.prepare import faces
from emotion.prepare.faces import FaceOptions, prepare_faces
from emotion.prepare.tracking import FrameDetections, boxes_at, overlaps, track_faces
from scenes import scene, write_video


def prepare(folder, *names, windows=None, **options):
    table = pd.DataFrame({"recording": [f"x/{name}" for name in names], "video": names})
    return prepare_faces(table, folder, FaceOptions(**options), windows, folder / "cache")


def prepare_one(folder, name="video.mp4", **options):
    """Return the face crops and the boxes of one video."""
    store = prepare(folder, name, **options)
    assert list(store.problems) == []
    return store.columns["faces"], store.columns["boxes"]


def centres(boxes):
    return (boxes[:, [1, 2]] + boxes[:, [3, 4]]) / 2


def correlation(one, other):
    return np.corrcoef(one.astype(float).ravel(), other.astype(float).ravel())[0, 1]


def test_moving_faces_are_cropped_at_their_position(face, tmp_path):
    lefts = np.linspace(20, 380, 30).astype(int)
    write_video(tmp_path / "video.mp4", [scene((face, left, 80)) for left in lefts])
    crops, boxes = prepare_one(tmp_path, frames=10)
    assert crops.shape == (10, 112, 112, 3)
    sampled = np.round(boxes[:, 0] * 10).astype(int)
    expected_left = lefts[sampled] + centres(boxes)[0, 0] - lefts[sampled[0]]
    assert (
        abs(centres(boxes)[:, 0] - expected_left).max() < 12
    )  # of 224 pixels; detection runs on every third frame only
    assert min(correlation(crops[0], other) for other in crops[1:]) > 0.7
    assert (boxes[:, 5] > 0.9).all()


def test_boxes_are_close_to_full_resolution_detections_of_every_frame(face, tmp_path):
    from emotion.prepare.face_detection import FaceDetector

    images = [scene((face, 100 + 5 * n, 80), height=720, width=1280) for n in range(20)]
    write_video(tmp_path / "video.mp4", images)
    _, boxes = prepare_one(tmp_path, frames=20)
    frames = list(read_frames(tmp_path / "video.mp4"))
    times, pixels = [frame.time for frame in frames], [frame.pixels() for frame in frames]
    detections = FaceDetector().detect(times, pixels, min_face_fraction=0.1)
    iou = [overlaps(box[None, 1:5], each.boxes).max() for box, each in zip(boxes, detections, strict=True)]
    assert np.median(iou) > 0.8


def test_videos_without_a_face_are_reported(tmp_path):
    write_video(tmp_path / "video.mp4", [scene()] * 8)
    store = prepare(tmp_path, "video.mp4")
    assert store.problems.to_dict() == {"x/video.mp4": "video.mp4: no face was found on it"}
    assert len(store.columns["faces"]) == 0


def test_larger_of_two_faces_is_tracked(face, tmp_path):
    small = cv2.resize(face, (112, 112), interpolation=cv2.INTER_AREA)
    write_video(tmp_path / "video.mp4", [scene((face, 380, 100), (small, 40, 150))] * 10)
    _, boxes = prepare_one(tmp_path, frames=5)
    assert (centres(boxes)[:, 0] > 400).all()


def test_face_that_is_visible_for_longer_is_tracked(face, tmp_path):
    smaller = cv2.resize(face, (180, 180), interpolation=cv2.INTER_AREA)
    frames = [scene((smaller, 20, 100), *([(face, 380, 100)] if n < 5 else [])) for n in range(30)]
    write_video(tmp_path / "video.mp4", frames)
    _, boxes = prepare_one(tmp_path, frames=6, detection_interval_s=0.2)
    assert (centres(boxes)[:, 0] < 250).all()
    assert len(boxes) == 6


def test_frames_without_the_face_are_counted(face, tmp_path):
    frames = [scene((face, 200, 100)) if n < 15 else scene() for n in range(40)]
    write_video(tmp_path / "video.mp4", frames)
    store = prepare(tmp_path, "video.mp4", frames=20, detection_interval_s=0.3)
    crops, boxes = store.columns["faces"], store.columns["boxes"]
    assert boxes[-1, 0] < 1.7
    assert store.index["note"].tolist() == [f"no face on {20 - len(crops)} of 20 frames"]
    assert crops.std(axis=(1, 2, 3)).min() > 20  # no crop is black or of the background alone


def test_short_gaps_of_a_face_are_interpolated(face, tmp_path):
    frames = [scene() if 12 <= n < 16 else scene((face, 200, 100)) for n in range(30)]
    write_video(tmp_path / "video.mp4", frames)
    _, boxes = prepare_one(tmp_path, frames=30, detection_interval_s=0.2)
    assert len(boxes) == 30


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_display_matrix_is_applied(face, tmp_path, rotation):
    upright = scene((face, 100, 200), height=640, width=360)
    stored = np.rot90(upright, -rotation // 90)  # the matrix rotates it back
    write_video(tmp_path / "video.mp4", [stored] * 6, rotation=rotation)
    frame = read_middle_frame(tmp_path / "video.mp4")
    assert frame.shape == upright.shape
    assert correlation(frame, upright) > 0.98
    _, boxes = prepare_one(tmp_path, frames=3)
    assert abs(centres(boxes) - (100 + 112, 200 + 112)).max() < 40


def test_frames_are_evenly_spaced_in_time_with_a_variable_frame_rate(face, tmp_path):
    times = np.concatenate([np.arange(0, 1000, 40), np.arange(1000, 3000, 200)])
    write_video(tmp_path / "video.mp4", [scene((face, 200, 100))] * len(times), times=list(times))
    np.testing.assert_allclose(frame_times(tmp_path / "video.mp4"), times / 1000, atol=1e-3)
    _, boxes = prepare_one(tmp_path, frames=6)
    np.testing.assert_allclose(boxes[:, 0], [0.24, 0.72, 1.2, 1.6, 2.2, 2.6], atol=0.1)


def test_videos_of_one_frame_are_prepared(face, tmp_path):
    write_video(tmp_path / "video.mp4", [scene((face, 200, 100))])
    crops, boxes = prepare_one(tmp_path)
    assert len(crops) == 1
    assert boxes[0, 0] == 0


def test_only_frames_of_the_window_are_used(face, tmp_path):
    frames = [scene((face, 20 if n < 10 else 380, 100)) for n in range(30)]
    write_video(tmp_path / "video.mp4", frames)
    _, boxes = prepare_one(tmp_path, frames=4, windows={"x/video.mp4": (1.0, 2.0)})
    assert boxes[:, 0].min() >= 1.0
    assert boxes[:, 0].max() < 2.0
    assert (centres(boxes)[:, 0] > 400).all()


def test_audio_may_be_longer_than_the_video(face, tmp_path):
    write_video(tmp_path / "video.mp4", [scene((face, 200, 100))] * 10, tone_seconds=3.0)
    assert len(read_audio(tmp_path / "video.mp4", 16_000)) > 45_000
    crops, _ = prepare_one(tmp_path, frames=4, windows={"x/video.mp4": (0.0, 3.0)})
    assert len(crops) == 4
    after_end = prepare(tmp_path, "video.mp4", windows={"x/video.mp4": (2.0, 3.0)})
    assert "has no video frames from 2.00 to 3.00 s" in after_end.problems.iloc[0]


@pytest.mark.parametrize(("height", "width"), [(96, 96), (2160, 3840)])
def test_tiny_and_huge_frames_are_prepared(face, tmp_path, height, width):
    side = min(height, width)
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if side < 224 else cv2.INTER_CUBIC)
    write_video(tmp_path / "video.mp4", [scene((large, 0, 0), height=height, width=width)] * 2)
    crops, boxes = prepare_one(tmp_path)
    assert len(crops) == 2
    assert 0.2 * side < boxes[0, 4] - boxes[0, 2] < side


def test_small_faces_are_found_at_a_higher_resolution(face, tmp_path):
    small = cv2.resize(face, (90, 90), interpolation=cv2.INTER_AREA)
    write_video(tmp_path / "video.mp4", [scene((small, 900, 300), height=720, width=1280)] * 3)
    _, boxes = prepare_one(tmp_path, min_face_fraction=0.03)
    assert abs(centres(boxes) - (945, 345)).max() < 20


def test_truncated_files_are_read_or_reported(face, tmp_path):
    rng = np.random.default_rng(0)
    noisy = [scene((face, 200, 100)) + rng.integers(0, 20, (360, 640, 3), np.uint8) for _ in range(20)]
    write_video(tmp_path / "whole.mp4", noisy)
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "no_index.mp4").write_bytes(data[: len(data) // 2])  # the index is at the end
    with av.open(str(tmp_path / "whole.mp4")) as source, av.open(str(tmp_path / "whole.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "half.mkv").write_bytes(data[: len(data) // 2])
    store = prepare(tmp_path, "no_index.mp4", "half.mkv", "missing.mp4", frames=4)
    assert list(store.problems.index) == ["x/no_index.mp4", "x/missing.mp4"]
    assert "cannot be decoded" in store.problems["x/no_index.mp4"]
    assert "no such file" in store.problems["x/missing.mp4"]
    assert len(store.columns["faces"]) == 4
    assert store.columns["boxes"][:, 0].max() < 1.5


def test_audio_files_have_no_video(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(1000), 16_000)
    assert prepare(tmp_path, "a.wav").problems.to_list() == ["a.wav: has no video"]


def test_whole_frames_are_sampled_with_a_step_in_grey(face, tmp_path):
    write_video(tmp_path / "video.mp4", [scene((face, 200, 100))] * 45)
    crops, boxes = prepare_one(tmp_path, frames=100, frame_step=20, size=256, color="grey", detect="none")
    assert crops.shape == (3, 256, 256, 1)
    np.testing.assert_allclose(boxes[:, 0], [0.0, 2.0, 4.0], atol=1e-3)
    np.testing.assert_array_equal(boxes[0, 1:], [0, 0, 640, 360, 1])


def test_crops_keep_the_aspect_ratio_and_replicate_the_border():
    pixels = np.arange(100 * 80 * 3, dtype=np.uint32).reshape(100, 80, 3).astype(np.uint8)
    part = faces._square(pixels, np.array([60.0, 10.0, 80.0, 50.0]), margin=0.5)
    assert part.shape == (60, 60, 3)  # 1.5 times the longer side
    np.testing.assert_array_equal(part[:, :40], pixels[0:60, 40:80])
    np.testing.assert_array_equal(part[:, 40:], np.repeat(pixels[0:60, 79:80], 20, axis=1))


def test_interrupted_preparation_resumes_without_repeated_work(face, tmp_path, monkeypatch):
    names = [f"{number:02}.mp4" for number in range(6)]
    for number, name in enumerate(names):
        write_video(tmp_path / name, [scene((face, 40 * number, 100))] * 3)
    expected = prepare(tmp_path, *names, frames=2).columns["boxes"][:].copy()
    (tmp_path / "cache").rename(tmp_path / "first")
    opened = []

    def fail_at_the_fourth(path):
        opened.append(path.name)
        if len(opened) == 4:
            raise MemoryError
        return frame_times(path)

    monkeypatch.setattr(faces, "frame_times", fail_at_the_fourth)
    monkeypatch.setattr(faces.os, "cpu_count", lambda: 1)
    with pytest.raises(MemoryError):
        prepare(tmp_path, *names, frames=2)
    opened[:] = ["nothing"] * 4
    again = prepare(tmp_path, *names, frames=2)
    assert opened[4:] == names[3:]
    np.testing.assert_array_equal(again.columns["boxes"], expected)
    prepare(tmp_path, *names, frames=2)
    assert len(opened) == 7


@pytest.mark.parametrize("options", [{"color": "red"}, {"detect": "haar"}, {"frames": 0}, {"frame_step": 0}])
def test_invalid_options_are_refused(options):
    (name,) = options
    with pytest.raises(EmotionError, match=rf"faces\.{name}"):
        FaceOptions(**options)


def test_tracks_of_crossing_faces_are_not_mixed():
    def box(x):
        return [x, 0.0, x + 50, 50.0]

    steps = [FrameDetections(n / 10, np.array([box(10 * n), box(300 - 10 * n)]), np.ones(2)) for n in range(8)]
    one, other = track_faces(steps)
    assert sorted([one.boxes[0, 0], other.boxes[0, 0]]) == [0, 300]
    assert {len(one.times), len(other.times)} == {8}
    assert (np.diff(one.boxes[:, 0]) == np.diff(one.boxes[:, 0])[0]).all()


def test_boxes_are_interpolated_between_detections_but_not_extrapolated():
    box = np.array([[0.0, 0, 40, 40]])
    (track,) = track_faces([FrameDetections(t, box + 10 * t, np.ones(1)) for t in (0.0, 0.8)])
    boxes, valid = boxes_at(track, np.array([0.0, 0.4, 0.8, 0.84, 1.2]))
    assert list(valid) == [True, True, True, False, False]
    np.testing.assert_allclose(boxes[1], box[0] + 4, atol=1e-6)


@pytest.mark.slow
def test_real_faces_are_found(real_data, tmp_path):
    folder = real_data / "ravdess_faces"
    for still in sorted((folder / "actor_stills").glob("*.png")):
        image = cv2.cvtColor(cv2.imread(str(still)), cv2.COLOR_BGR2RGB)
        write_video(tmp_path / f"{still.stem}.mp4", [image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2]])
    names = sorted(path.name for path in tmp_path.glob("*.mp4"))
    assert len(names) == 24
    store = prepare(tmp_path, *names)
    assert list(store.problems) == []
    assert (store.index["length"] == 1).all()
    boxes = store.columns["boxes"]
    # The head is in the upper half of the centre of 398 × 224 pixels.
    assert abs(centres(boxes) - (199, 90)).max() < 45
    clips = sorted(path.name for path in (folder / "clips").glob("*.mp4"))
    table = pd.DataFrame({"recording": clips, "video": clips})
    real = prepare_faces(table, folder / "clips", FaceOptions(), cache=tmp_path / "cache")
    assert list(real.index["length"]) == [16] * 3
    assert (real.index["note"] == "").all()


def test_missing_videos_are_reported(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        next(read_frames(tmp_path / "missing.mp4"))
