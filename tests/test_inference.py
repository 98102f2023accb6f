"""Tests of predictions of finished runs on files."""

import csv
import io
import json
import subprocess
import sys

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import soundfile

from emotion.errors import EmotionError
from emotion.inference import Prediction, Predictor, Problem, output
from emotion.inference.export import export
from emotion.inference.recordings import find_media
from emotion.labels import EMOTIONS
from emotion.media.audio import read_audio
from scenes import scene, write_video

SMALL = ("trainer.max_epochs=1", "faces.frames=3", "faces.size=32")


def saved_probabilities(run_dir, split="test"):
    """Return the probabilities in predictions.csv, by recording."""
    table = pd.read_csv(run_dir / "predictions.csv").query(f"split == '{split}'")
    return table.set_index("recording")[list(EMOTIONS)]


def test_predictions_of_files_equal_those_of_the_run(trained, demo_root):
    expected = saved_probabilities(trained)
    files = [demo_root / f"Actor_{name[-2:]}" / f"03-{name.split('/')[1]}.wav" for name in expected.index]
    predictions = list(Predictor.from_run(trained).predict(files))
    assert [prediction.name for prediction in predictions] == list(map(str, files))
    probabilities = pd.DataFrame([prediction.probabilities for prediction in predictions], index=expected.index)
    pd.testing.assert_frame_equal(probabilities, expected, check_exact=False, atol=1e-5, rtol=0)
    assert [prediction.emotion for prediction in predictions] == list(expected.idxmax(axis=1))
    assert {prediction.modalities for prediction in predictions} == {("audio",)}


def test_long_recordings_have_a_batch_of_their_own(trained, demo_root, tmp_path, monkeypatch):
    short = sorted((demo_root / "Actor_01").glob("*.wav"))[:3]
    soundfile.write(tmp_path / "long.wav", np.tile(read_audio(short[0], 16_000), 20), 16_000)
    predictor = Predictor.from_run(trained)
    alone = [predictor.predict(path).probabilities for path in (*short, tmp_path / "long.wav")]
    monkeypatch.setattr("emotion.inference.predictor._SAMPLES", 10 * 16_000)
    sizes, model = [], predictor.model
    call = type(model).__call__
    monkeypatch.setattr(type(model), "__call__", lambda own, batch: sizes.append(len(batch)) or call(own, batch))
    batched = [prediction.probabilities for prediction in predictor.predict([*short, tmp_path / "long.wav"])]
    assert sizes[-1] == 1
    assert sum(sizes) == 4
    for one, other in zip(alone, batched, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.slow
def test_fusion_predicts_from_the_available_modalities(train_in_process, video_overrides, own_videos):
    model = (
        "model=late_fusion",
        "model.branches.face=face_cnn",
        "model.branches.face.images.size=32",
        "data.on_error=allow_missing_modality",
    )
    run_dir = train_in_process(*video_overrides, *model, *SMALL, name="fusion")
    expected = pd.concat([saved_probabilities(run_dir, split) for split in ("dev", "test")])
    predictor = Predictor.from_run(run_dir)
    for recording in expected.index:
        path = next(own_videos.glob(recording.removeprefix("folder/") + ".*"))
        prediction = predictor.predict(path)
        assert list(prediction.probabilities.values()) == pytest.approx(list(expected.loc[recording]), abs=1e-4)
        assert prediction.modalities == (("audio", "face") if path.suffix == ".mp4" else ("audio",))
    predictions = predictor.predict(own_videos / "happy" / "person01_again.wav")
    assert (predictions.modalities, predictions.notes) == (("audio",), ("has no video",))


@pytest.mark.slow
def test_rotated_variable_rate_and_hevc_videos_are_predicted(train_in_process, video_overrides, face, tmp_path):
    model = (
        "model=late_fusion",
        "model.branches.face=face_cnn",
        "model.branches.face.images.size=32",
        "data.on_error=allow_missing_modality",
    )
    predictor = Predictor.from_run(train_in_process(*video_overrides, *model, *SMALL))
    images = [scene((face, 200, 60))] * 20
    write_video(tmp_path / "plain.mp4", images, tone_seconds=2.0)
    rotated = [np.rot90(image, -1) for image in images]
    write_video(tmp_path / "rotated.mp4", rotated, rotation=90, tone_seconds=2.0)
    write_video(
        tmp_path / "variable_rate.mp4", images, times=[90 * n + 40 * (n % 3) for n in range(20)], tone_seconds=2.0
    )
    if "libx265" in av.codecs_available:
        write_video(tmp_path / "hevc.mov", images, tone_seconds=2.0, codec="libx265")
    plain, *others = predictor.predict(sorted(tmp_path.glob("*.m*"), key=lambda path: path.stem != "plain"))
    assert len(others) >= 2
    for prediction in others:
        assert prediction.modalities == ("audio", "face")
        assert prediction.probabilities == pytest.approx(plain.probabilities, abs=0.02)


def test_predictions_of_waveforms_equal_those_of_files(trained, demo_root):
    predictor = Predictor.from_run(trained)
    path = demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav"
    waveform, rate = soundfile.read(path, dtype="float32")
    by_file = predictor.predict(path)
    assert predictor.predict(waveform, sample_rate=rate).probabilities == pytest.approx(by_file.probabilities, abs=1e-6)
    stereo = np.stack([waveform, waveform], axis=1)
    assert predictor.predict(stereo, sample_rate=rate).probabilities == pytest.approx(by_file.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (np.zeros(100), None, "sample_rate"),
        (np.zeros(0), 16_000, "shape"),
        (np.zeros(100, np.int64), 16_000, "this one holds int64"),
        (np.full(100, np.nan), 16_000, "NaN"),
    ],
)
def test_invalid_waveforms_are_refused(trained, waveform, rate, message):
    with pytest.raises(EmotionError, match=message):
        Predictor.from_run(trained).predict(waveform, sample_rate=rate)


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_sampling_rate_and_number_of_channels_is_accepted(trained, demo_root, tmp_path, rate, channels):
    source = demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav"
    waveform = read_audio(source, rate)
    soundfile.write(tmp_path / "clip.wav", np.repeat(waveform[:, None], channels, axis=1), rate, subtype="FLOAT")
    predictor = Predictor.from_run(trained)
    predictions = [predictor.predict(tmp_path / "clip.wav"), predictor.predict(waveform, sample_rate=rate)]
    predictions += [predictor.predict(source)] if rate > 16_000 else []  # a lower rate lacks high frequencies
    first, *others = [list(prediction.probabilities.values()) for prediction in predictions]
    assert all(first == pytest.approx(other, abs=0.02) for other in others)


def test_files_are_found_by_name_folder_and_pattern(tmp_path):
    for name in ("a.wav", "b.mp3", "deep/c.MP4", "notes.txt", "d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()

    def names(*patterns):
        return [path.name for path in find_media([str(tmp_path / pattern) for pattern in patterns]).files]

    assert names("") == ["a.wav", "b.mp3", "d.png", "c.MP4"]
    assert names("*.wav", "a.wav") == ["a.wav"]
    assert names("**/*.MP4") == ["c.MP4"]
    assert names("notes.txt") == ["notes.txt"]  # named files are included whatever their suffix
    missing = find_media([str(tmp_path / name) for name in ("empty", "no.wav", "*.flac")]).missing
    assert [text.rsplit(": ", 1)[1].split()[0] for text in missing] == ["no", "no", "no"]


@pytest.mark.slow
def test_unreadable_files_are_reported_and_the_others_predicted(trained, demo_root, tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "empty.wav").touch()
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((32, 32, 3), np.uint8))
    valid = demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav"
    (tmp_path / "valid clip [1].wav").symlink_to(valid)
    command = [sys.executable, "-m", "emotion.cli", "predict", str(tmp_path), str(tmp_path / "nothing.wav")]
    for form in ("table", "json", "csv"):
        done = subprocess.run([*command, "--run", str(trained), "--format", form], capture_output=True, text=True)
        assert done.returncode == 1
        for name, reason in (
            ("text.mp4", "Invalid data found when processing input"),
            ("empty.wav", "the file is empty"),
            ("photo.png", "an image has no audio"),
            ("nothing.wav", "no such file"),
        ):
            (line,) = [line for line in done.stderr.splitlines() if f"{name}: " in line]
            assert line.startswith("error: ") and reason in line
        assert "valid clip [1].wav" in done.stdout
        assert "Traceback" not in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sum(bool(row["problem"]) for row in rows) == 3
    (row,) = [row for row in rows if row["emotion"]]
    assert sum(float(row[emotion]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-4)


def test_json_contains_predictions_and_problems():
    predictions = [
        Prediction("a.wav", "calm", {"calm": 0.75, "sad": 0.25}, ("audio",), ("no face",)),
        Problem("b", "why"),
    ]
    first, second = json.loads(output.to_json(predictions))
    assert first == {
        "name": "a.wav",
        "emotion": "calm",
        "probabilities": {"calm": 0.75, "sad": 0.25},
        "modalities": ["audio"],
        "notes": ["no face"],
        "distance": None,
        "adapted_to": None,
    }
    assert second == {"name": "b", "problem": "why"}


def test_two_samples_suffice_and_silence_is_refused(trained, tmp_path):
    predictor = Predictor.from_run(trained)
    clip = tmp_path / "clip.wav"
    tone = np.sin(np.arange(800) / 5)
    for samples in (tone[:2], tone / 2, tone * 4e-4):
        soundfile.write(clip, samples, 16_000)
        assert sum(predictor.predict(clip).probabilities.values()) == pytest.approx(1)
    for samples in (np.zeros(1), np.zeros(100_000), tone * 1e-5, np.ones(1) / 2, np.ones(800) / 2):
        soundfile.write(clip, samples, 16_000)
        for predict in (predictor.predict, lambda path: list(predictor.timeline(path))):
            with pytest.raises(EmotionError, match=r"clip\.wav: is silent"):
                predict(clip)
    with pytest.raises(EmotionError, match="waveform: is silent"):
        predictor.predict(np.zeros(16_000), sample_rate=16_000)


@pytest.mark.slow
def test_runs_with_speaker_normalisation_are_not_exported(train_in_process, tmp_path):
    run_dir = train_in_process("features.normalize=speaker", "trainer.max_epochs=1", name="by_speaker")
    with pytest.raises(EmotionError, match="normalises by speaker, which is unknown to an exported file"):
        export(run_dir, tmp_path / "model.onnx", "onnx")
    with pytest.raises(EmotionError, match="is not a run directory"):
        Predictor.from_run(run_dir / "nowhere")
