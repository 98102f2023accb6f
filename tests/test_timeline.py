"""Tests of predictions over a sliding window with face tracking."""

import csv
import io
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
import soundfile

from emotion.errors import EmotionError
from emotion.inference import Predictor, output
from emotion.inference.overlay import write_overlay
from emotion.inference.timeline_figure import timeline_figure
from emotion.inference.windows import face_windows
from emotion.media.audio import read_audio, stream_audio
from emotion.media.files import MediaError
from emotion.plots.figure import label_colors
from emotion.prepare.faces import FaceCropper, FaceOptions
from scenes import GREY, scene, write_video

SMALL = ("trainer.max_epochs=1", "faces.frames=3", "faces.size=24", "model.branches.face.backbone.widths=[4]")


@pytest.fixture(scope="module")
def speech(demo_root, tmp_path_factory):
    """Return the path of ten seconds of speech at 16 kHz."""
    path = tmp_path_factory.mktemp("speech") / "talk.wav"
    clips = [read_audio(clip, 16_000) for clip in sorted((demo_root / "Actor_01").glob("*.wav"))]
    soundfile.write(path, np.concatenate(clips)[: 10 * 16_000], 16_000)
    return path


def test_each_window_equals_a_prediction_of_its_waveform(trained, speech):
    predictor = Predictor.from_run(trained)
    rate = 16_000
    waveform = read_audio(speech, rate)
    segments = list(predictor.timeline(speech, window=3, hop=2))
    assert [(segment.start, segment.end) for segment in segments] == [(0, 3), (2, 5), (4, 7), (6, 9), (8, 10)]
    for segment in segments:
        part = waveform[int(segment.start * rate) : int(segment.end * rate)]
        (alone,) = predictor.predict_recordings([predictor.reader.from_waveform(part)])
        assert segment.prediction.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
        assert (segment.face, len(segment.boxes), segment.prediction.name) == (None, 0, str(speech))


@pytest.mark.parametrize(("seconds", "ends"), [(2.0, [2.0]), (3.0, [3.0]), (3.2, [3.0]), (4.5, [3.0, 4.5])])
def test_short_last_windows_are_left_out(trained, speech, tmp_path, seconds, ends):
    waveform, rate = soundfile.read(speech)
    soundfile.write(tmp_path / "clip.wav", waveform[: round(seconds * rate)], rate)
    assert [segment.end for segment in Predictor.from_run(trained).timeline(tmp_path / "clip.wav", 3, 3)] == ends


@pytest.mark.parametrize("name", ["clip.wav", "clip.m4a"])
def test_streamed_audio_equals_audio_read_at_once(speech, tmp_path, name):
    waveform, _ = soundfile.read(speech, dtype="float32")
    if name.endswith("wav"):
        soundfile.write(tmp_path / name, np.repeat(waveform[:, None], 2, axis=1), 44_100)
    else:
        write_video(tmp_path / "clip.mp4", [scene()] * 3, tone_seconds=5.0)
        (tmp_path / "clip.mp4").rename(tmp_path / name)
    whole = read_audio(tmp_path / name, 22_050)
    streamed = np.concatenate(list(stream_audio(tmp_path / name, 22_050)))
    assert len(streamed) == pytest.approx(len(whole), abs=1)
    shared = min(len(streamed), len(whole))
    np.testing.assert_allclose(streamed[:shared], whole[:shared], atol=1e-4)


def test_face_tracks_keep_their_numbers(face, tmp_path):
    """One face is visible for 8 s, another from 2 s to 6 s."""
    frames = [scene((face, 20, 60), *([(face, 380, 90)] if 20 <= number < 60 else [])) for number in range(80)]
    write_video(tmp_path / "two.mp4", frames)
    windows = list(face_windows(FaceCropper(FaceOptions(frames=4, size=32)), tmp_path / "two.mp4", 2.0, 1.0))
    assert [end for end, _ in windows] == [2, 3, 4, 5, 6, 7, 8]
    assert [sorted(faces) for _, faces in windows] == [[0], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0]]
    for end, faces in windows:
        for number, track in faces.items():
            assert track.crops.shape[1:] == (32, 32, 3)
            assert len(track.crops) == len(track.boxes) <= 4
            assert ((end - 2 <= track.boxes[:, 0]) & (track.boxes[:, 0] < end)).all()
            middle = track.boxes[:, [1, 3]].mean()
            assert middle == pytest.approx(20 + 112 if number == 0 else 380 + 112, abs=15)


@pytest.mark.slow
def test_timeline_of_a_video_with_two_faces(train_in_process, video_overrides, face, tmp_path):
    model = ("model=late_fusion", "model.branches.face=face_cnn", "data.on_error=allow_missing_modality")
    predictor = Predictor.from_run(train_in_process(*video_overrides, *model, *SMALL))
    video = tmp_path / "video.mp4"
    frames = [scene((face, 20, 60), *([(face, 380, 90)] if number < 30 else [])) for number in range(60)]
    write_video(video, frames, tone_seconds=9.0)
    segments = list(predictor.timeline(video, window=3, hop=3))
    assert [(segment.start, segment.face) for segment in segments] == [(0, 1), (0, 2), (3, 1), (6, None)]
    assert [segment.prediction.modalities for segment in segments] == [("audio", "face")] * 3 + [("audio",)]

    labels = predictor.labels
    assert len(timeline_figure(segments, labels).axes) == 2  # a panel for each face
    write_overlay(video, segments, labels, tmp_path / "overlay.mp4")
    with av.open(str(tmp_path / "overlay.mp4")) as written:
        assert written.streams.audio[0].duration * written.streams.audio[0].time_base == pytest.approx(9, abs=0.1)
        drawn = [frame.to_ndarray(format="rgb24") for frame in written.decode(video=0)]
    assert len(drawn) == len(frames)
    assert drawn[0].shape[0] > 360
    assert drawn[0].shape[1] == 640
    box = segments[0].boxes[0, 1:].round().astype(int)
    edge = drawn[0][box[1] : box[3], box[0]].astype(int)
    colour = dict(zip(labels, label_colors(labels), strict=True))[segments[0].prediction.emotion]
    expected = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    assert abs(edge.mean(axis=0) - expected).max() < 25
    corner = drawn[0][:50, :150].astype(int)
    assert abs(corner - GREY).max() < 40  # no audio-only prediction is drawn while there are faces
    assert not np.allclose(drawn[0][380:], drawn[-1][380:], atol=40)  # the time axis advances

    rows = list(csv.DictReader(io.StringIO(output.to_csv(segments, labels))))
    assert [(row["start"], row["end"], row["face"]) for row in rows][::3] == [("0.0", "3.0", "1"), ("6.0", "9.0", "")]


@pytest.mark.slow
def test_videos_without_faces_are_refused(train_in_process, video_overrides, tmp_path):
    sizes = [key.replace("branches.face.", "") for key in SMALL]
    predictor = Predictor.from_run(train_in_process(*video_overrides, "model=face_cnn", "data.on_error=skip", *sizes))
    write_video(tmp_path / "empty.mp4", [scene()] * 10)
    with pytest.raises(MediaError, match="no face was found"):
        list(predictor.timeline(tmp_path / "empty.mp4"))


@pytest.mark.slow
def test_command_prints_timelines_and_refuses_wrong_arguments(trained, speech, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    command = [sys.executable, "-m", "emotion.cli", "predict", "--run", str(trained)]

    def call(*arguments):
        return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)

    done = call(speech, tmp_path / "text.mp4", "--timeline", "--hop", "2", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 1
    assert [row["end"] for row in rows] == ["3.0", "5.0", "7.0", "9.0", "10.0", ""]
    assert "error: " in done.stderr
    assert "text.mp4: cannot be decoded" in done.stderr

    done = call(speech, "--plot", tmp_path / "plot.png")
    assert done.returncode == 0
    assert "0:07–0:10" in done.stdout
    assert cv2.imread(str(tmp_path / "plot.png")).shape[1] > 1000
    for arguments, message in (
        ([speech, "--timeline", "--hop", "4"], "0 < hop <= window"),
        ([speech, "--window", "0.0001"], "a window of 0.0001 s is too short for an emotion; use at least 0.1 s"),
        ([speech, tmp_path / "text.mp4", "--plot", tmp_path / "p.png"], "shows one recording; 2 were given"),
        ([speech, "--overlay", tmp_path / "o.mp4"], "has no video"),
        ([speech, "--overlay", tmp_path / "o.avi"], "must be .mp4"),
    ):
        done = call(*arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "o.mp4").exists()


def test_hops_longer_than_the_window_are_refused(trained, speech):
    with pytest.raises(EmotionError, match="window of 1 s"):
        list(Predictor.from_run(trained).timeline(speech, window=1, hop=2))
