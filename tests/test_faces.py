"""Faces out of videos: of the demo corpus's drawn people, and of real ones where they are at hand."""

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


def only(folder, name="video.mp4", **options):
    """The faces and the boxes of one video."""
    store = prepare(folder, name, **options)
    assert list(store.problems) == []
    return store.columns["faces"], store.columns["boxes"]


def centres(boxes):
    return (boxes[:, [1, 2]] + boxes[:, [3, 4]]) / 2


def likeness(one, other):
    return np.corrcoef(one.astype(float).ravel(), other.astype(float).ravel())[0, 1]


def test_a_moving_face_is_cut_out_where_it_is(face, tmp_path):
    lefts = np.linspace(20, 380, 30).astype(int)
    write_video(tmp_path / "video.mp4", [scene((face, left, 80)) for left in lefts])
    cut, boxes = only(tmp_path, frames=10)
    assert cut.shape == (10, 112, 112, 3)
    shown = np.round(boxes[:, 0] * 10).astype(int)
    expected_left = lefts[shown] + centres(boxes)[0, 0] - lefts[shown[0]]
    assert abs(centres(boxes)[:, 0] - expected_left).max() < 12  # of 224: looked for on every third frame only
    assert min(likeness(cut[0], other) for other in cut[1:]) > 0.7
    assert (boxes[:, 5] > 0.9).all()


def test_boxes_are_near_those_of_every_frame_at_full_size(face, tmp_path):
    from emotion.prepare.face_detection import FaceDetector

    room = [scene((face, 100 + 5 * n, 80), height=720, width=1280) for n in range(20)]
    write_video(tmp_path / "video.mp4", room)
    _, boxes = only(tmp_path, frames=20)
    pictures = list(read_frames(tmp_path / "video.mp4"))
    found = FaceDetector().detect([p.time for p in pictures], [p.pixels() for p in pictures], min_face_fraction=0.1)
    iou = [overlaps(box[None, 1:5], one.boxes).max() for box, one in zip(boxes, found, strict=True)]
    assert np.median(iou) > 0.8


def test_no_face_is_a_problem_with_a_name(tmp_path):
    write_video(tmp_path / "video.mp4", [scene()] * 8)
    store = prepare(tmp_path, "video.mp4")
    assert store.problems.to_dict() == {"x/video.mp4": "video.mp4: no face was found on it"}
    assert len(store.columns["faces"]) == 0


def test_of_two_faces_the_larger_is_followed(face, tmp_path):
    small = cv2.resize(face, (112, 112), interpolation=cv2.INTER_AREA)
    write_video(tmp_path / "video.mp4", [scene((face, 380, 100), (small, 40, 150))] * 10)
    _, boxes = only(tmp_path, frames=5)
    assert (centres(boxes)[:, 0] > 400).all()


def test_of_two_faces_the_one_that_stays_is_followed(face, tmp_path):
    smaller = cv2.resize(face, (180, 180), interpolation=cv2.INTER_AREA)
    pictures = [scene((smaller, 20, 100), *([(face, 380, 100)] if n < 5 else [])) for n in range(30)]
    write_video(tmp_path / "video.mp4", pictures)
    _, boxes = only(tmp_path, frames=6, detection_interval_s=0.2)
    assert (centres(boxes)[:, 0] < 250).all()
    assert len(boxes) == 6


def test_a_face_that_leaves_is_missed_and_counted(face, tmp_path):
    pictures = [scene((face, 200, 100)) if n < 15 else scene() for n in range(40)]
    write_video(tmp_path / "video.mp4", pictures)
    store = prepare(tmp_path, "video.mp4", frames=20, detection_interval_s=0.3)
    cut, boxes = store.columns["faces"], store.columns["boxes"]
    assert boxes[-1, 0] < 1.7
    assert store.index["note"].tolist() == [f"no face on {20 - len(cut)} of 20 frames"]
    assert cut.std(axis=(1, 2, 3)).min() > 20  # no picture is black, or of the room alone


def test_a_face_that_is_hidden_for_a_moment_is_bridged(face, tmp_path):
    pictures = [scene() if 12 <= n < 16 else scene((face, 200, 100)) for n in range(30)]
    write_video(tmp_path / "video.mp4", pictures)
    _, boxes = only(tmp_path, frames=30, detection_interval_s=0.2)
    assert len(boxes) == 30


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_a_video_is_shown_as_its_display_matrix_says(face, tmp_path, turn):
    upright = scene((face, 100, 200), height=640, width=360)
    stored = np.rot90(upright, -turn // 90)  # the matrix turns it back
    write_video(tmp_path / "video.mp4", [stored] * 6, turn=turn)
    shown = read_middle_frame(tmp_path / "video.mp4")
    assert shown.shape == upright.shape
    assert likeness(shown, upright) > 0.98
    _, boxes = only(tmp_path, frames=3)
    assert abs(centres(boxes) - (100 + 112, 200 + 112)).max() < 40


def test_pictures_are_spread_over_time_when_the_frame_rate_varies(face, tmp_path):
    times = np.concatenate([np.arange(0, 1000, 40), np.arange(1000, 3000, 200)])
    write_video(tmp_path / "video.mp4", [scene((face, 200, 100))] * len(times), times=list(times))
    np.testing.assert_allclose(frame_times(tmp_path / "video.mp4"), times / 1000, atol=1e-3)
    _, boxes = only(tmp_path, frames=6)
    np.testing.assert_allclose(boxes[:, 0], [0.24, 0.72, 1.2, 1.6, 2.2, 2.6], atol=0.1)


def test_one_frame_is_a_video(face, tmp_path):
    write_video(tmp_path / "video.mp4", [scene((face, 200, 100))])
    cut, boxes = only(tmp_path)
    assert len(cut) == 1
    assert boxes[0, 0] == 0


def test_only_the_window_is_looked_at(face, tmp_path):
    pictures = [scene((face, 20 if n < 10 else 380, 100)) for n in range(30)]
    write_video(tmp_path / "video.mp4", pictures)
    _, boxes = only(tmp_path, frames=4, windows={"x/video.mp4": (1.0, 2.0)})
    assert boxes[:, 0].min() >= 1.0
    assert boxes[:, 0].max() < 2.0
    assert (centres(boxes)[:, 0] > 400).all()


def test_sound_that_is_longer_than_the_picture(face, tmp_path):
    write_video(tmp_path / "video.mp4", [scene((face, 200, 100))] * 10, tone_seconds=3.0)
    assert len(read_audio(tmp_path / "video.mp4", 16_000)) > 45_000
    cut, _ = only(tmp_path, frames=4, windows={"x/video.mp4": (0.0, 3.0)})
    assert len(cut) == 4
    late = prepare(tmp_path, "video.mp4", windows={"x/video.mp4": (2.0, 3.0)})
    assert "has no video frames from 2.00 to 3.00 s" in late.problems.iloc[0]


@pytest.mark.parametrize(("height", "width"), [(96, 96), (2160, 3840)])
def test_tiny_and_huge_frames(face, tmp_path, height, width):
    side = min(height, width)
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if side < 224 else cv2.INTER_CUBIC)
    write_video(tmp_path / "video.mp4", [scene((large, 0, 0), height=height, width=width)] * 2)
    cut, boxes = only(tmp_path)
    assert len(cut) == 2
    assert 0.2 * side < boxes[0, 4] - boxes[0, 2] < side


def test_a_small_face_is_found_at_a_second_look(face, tmp_path):
    small = cv2.resize(face, (90, 90), interpolation=cv2.INTER_AREA)
    write_video(tmp_path / "video.mp4", [scene((small, 900, 300), height=720, width=1280)] * 3)
    _, boxes = only(tmp_path, min_face_fraction=0.03)
    assert abs(centres(boxes) - (945, 345)).max() < 20


def test_a_truncated_file(face, tmp_path):
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
    store = prepare(tmp_path, "no_index.mp4", "half.mkv", "gone.mp4", frames=4)
    assert list(store.problems.index) == ["x/no_index.mp4", "x/gone.mp4"]
    assert "cannot be decoded" in store.problems["x/no_index.mp4"]
    assert "no such file" in store.problems["x/gone.mp4"]
    assert len(store.columns["faces"]) == 4
    assert store.columns["boxes"][:, 0].max() < 1.5


def test_sound_alone_has_no_picture(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(1000), 16_000)
    assert prepare(tmp_path, "a.wav").problems.to_list() == ["a.wav: has no video"]


def test_whole_frames_every_kth_in_grey(face, tmp_path):
    write_video(tmp_path / "video.mp4", [scene((face, 200, 100))] * 45)
    cut, boxes = only(tmp_path, frames=100, frame_step=20, size=256, color="grey", detect="none")
    assert cut.shape == (3, 256, 256, 1)
    np.testing.assert_allclose(boxes[:, 0], [0.0, 2.0, 4.0], atol=1e-3)
    np.testing.assert_array_equal(boxes[0, 1:], [0, 0, 640, 360, 1])


def test_the_cut_keeps_the_aspect_and_goes_on_beyond_the_edge():
    pixels = np.arange(100 * 80 * 3, dtype=np.uint32).reshape(100, 80, 3).astype(np.uint8)
    part = faces._square(pixels, np.array([60.0, 10.0, 80.0, 50.0]), margin=0.5)
    assert part.shape == (60, 60, 3)  # 1.5 times the longer side
    np.testing.assert_array_equal(part[:, :40], pixels[0:60, 40:80])
    np.testing.assert_array_equal(part[:, 40:], np.repeat(pixels[0:60, 79:80], 20, axis=1))


def test_interrupted_work_resumes_and_nothing_is_done_twice(face, tmp_path, monkeypatch):
    names = [f"{number:02}.mp4" for number in range(6)]
    for number, name in enumerate(names):
        write_video(tmp_path / name, [scene((face, 40 * number, 100))] * 3)
    whole = prepare(tmp_path, *names, frames=2).columns["boxes"][:].copy()
    (tmp_path / "cache").rename(tmp_path / "first")
    opened = []

    def dies_at_the_fourth(path):
        opened.append(path.name)
        if len(opened) == 4:
            raise MemoryError
        return frame_times(path)

    monkeypatch.setattr(faces, "frame_times", dies_at_the_fourth)
    monkeypatch.setattr(faces.os, "cpu_count", lambda: 1)
    with pytest.raises(MemoryError):
        prepare(tmp_path, *names, frames=2)
    opened[:] = ["nothing"] * 4
    again = prepare(tmp_path, *names, frames=2)
    assert opened[4:] == names[3:]
    np.testing.assert_array_equal(again.columns["boxes"], whole)
    prepare(tmp_path, *names, frames=2)
    assert len(opened) == 7


@pytest.mark.parametrize("options", [{"color": "red"}, {"detect": "haar"}, {"frames": 0}, {"frame_step": 0}])
def test_impossible_options_are_named(options):
    (name,) = options
    with pytest.raises(EmotionError, match=rf"faces\.{name}"):
        FaceOptions(**options)


def test_tracks_do_not_mix_people_who_pass():
    def box(x):
        return [x, 0.0, x + 50, 50.0]

    steps = [FrameDetections(n / 10, np.array([box(10 * n), box(300 - 10 * n)]), np.ones(2)) for n in range(8)]
    one, other = track_faces(steps)
    assert sorted([one.boxes[0, 0], other.boxes[0, 0]]) == [0, 300]
    assert {len(one.times), len(other.times)} == {8}
    assert (np.diff(one.boxes[:, 0]) == np.diff(one.boxes[:, 0])[0]).all()


def test_a_box_between_two_finds_is_interpolated_and_not_beyond():
    box = np.array([[0.0, 0, 40, 40]])
    (track,) = track_faces([FrameDetections(t, box + 10 * t, np.ones(1)) for t in (0.0, 0.8)])
    boxes, there = boxes_at(track, np.array([0.0, 0.4, 0.8, 0.84, 1.2]))
    assert list(there) == [True, True, True, False, False]
    np.testing.assert_allclose(boxes[1], box[0] + 4, atol=1e-6)


@pytest.mark.slow
def test_real_faces_are_found(real_data, tmp_path):
    folder = real_data / "ravdess_faces"
    for still in sorted((folder / "actor_stills").glob("*.png")):
        picture = cv2.cvtColor(cv2.imread(str(still)), cv2.COLOR_BGR2RGB)
        write_video(tmp_path / f"{still.stem}.mp4", [picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2]])
    names = sorted(path.name for path in tmp_path.glob("*.mp4"))
    assert len(names) == 24
    store = prepare(tmp_path, *names)
    assert list(store.problems) == []
    assert (store.index["length"] == 1).all()
    boxes = store.columns["boxes"]
    # The actor sits in the middle, head in the upper half: 398×224 pixels.
    assert abs(centres(boxes) - (199, 90)).max() < 45
    clips = sorted(path.name for path in (folder / "clips").glob("*.mp4"))
    table = pd.DataFrame({"recording": clips, "video": clips})
    real = prepare_faces(table, folder / "clips", FaceOptions(), cache=tmp_path / "cache")
    assert list(real.index["length"]) == [16] * 3
    assert (real.index["note"] == "").all()


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        next(read_frames(tmp_path / "gone.mp4"))
