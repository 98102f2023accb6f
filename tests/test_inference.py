"""A finished run answers about people's own files as it answers about its corpus."""

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
from emotion.inference.recordings import find_media
from emotion.labels import EMOTIONS
from emotion.media.audio import read_audio
from scenes import scene, write_video

SMALL = ("trainer.max_epochs=1", "faces.frames=3", "faces.size=32")


def judged_in_training(run_dir, split="test"):
    """Probabilities by recording."""
    table = pd.read_csv(run_dir / "predictions.csv").query(f"split == '{split}'")
    return table.set_index("recording")[list(EMOTIONS)]


def test_files_get_the_probabilities_that_the_run_gave_them(trained, demo_root):
    expected = judged_in_training(trained)
    files = [demo_root / f"Actor_{name[-2:]}" / f"03-{name.split('/')[1]}.wav" for name in expected.index]
    answers = list(Predictor.from_run(trained).predict(files))
    assert [answer.name for answer in answers] == list(map(str, files))
    found = pd.DataFrame([answer.probabilities for answer in answers], index=expected.index)
    pd.testing.assert_frame_equal(found, expected, check_exact=False, atol=1e-5, rtol=0)
    assert [answer.emotion for answer in answers] == list(expected.idxmax(axis=1))
    assert {answer.modalities for answer in answers} == {("audio",)}


def test_a_long_recording_does_not_make_its_batch_long(trained, demo_root, tmp_path, monkeypatch):
    short = sorted((demo_root / "Actor_01").glob("*.wav"))[:3]
    soundfile.write(tmp_path / "long.wav", np.tile(read_audio(short[0], 16_000), 20), 16_000)
    predictor = Predictor.from_run(trained)
    alone = [predictor(path).probabilities for path in (*short, tmp_path / "long.wav")]
    monkeypatch.setattr("emotion.inference.predictor._SAMPLES", 10 * 16_000)
    sizes, model = [], predictor.model
    monkeypatch.setattr(predictor, "model", lambda some: sizes.append(len(some)) or model(some))
    together = [answer.probabilities for answer in predictor.predict([*short, tmp_path / "long.wav"])]
    assert sizes[-1] == 1
    assert sum(sizes) == 4
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.slow
def test_sound_and_face_or_what_there_is_of_them(train_in_process, typed, own_videos):
    model = (
        "model=late_fusion",
        "model.branches.face=face_cnn",
        "model.branches.face.images.size=32",
        "data.on_error=allow_missing_modality",
    )
    run_dir = train_in_process(*typed, *model, *SMALL, name="both")
    expected = pd.concat([judged_in_training(run_dir, split) for split in ("dev", "test")])
    predictor = Predictor.from_run(run_dir)
    for recording in expected.index:
        path = next(own_videos.glob(recording.removeprefix("folder/") + ".*"))
        answer = predictor(path)
        assert list(answer.probabilities.values()) == pytest.approx(list(expected.loc[recording]), abs=1e-4)
        assert answer.modalities == (("audio", "face") if path.suffix == ".mp4" else ("audio",))
    answers = predictor(own_videos / "happy" / "person01_again.wav")
    assert (answers.modalities, answers.notes) == (("audio",), ("has no video",))


@pytest.mark.slow
def test_videos_as_telephones_record_them(train_in_process, typed, face, tmp_path):
    model = (
        "model=late_fusion",
        "model.branches.face=face_cnn",
        "model.branches.face.images.size=32",
        "data.on_error=allow_missing_modality",
    )
    predictor = Predictor.from_run(train_in_process(*typed, *model, *SMALL))
    pictures = [scene((face, 200, 60))] * 20
    write_video(tmp_path / "plain.mp4", pictures, tone_seconds=2.0)
    lying = [np.rot90(picture, -1) for picture in pictures]
    write_video(tmp_path / "turned.mp4", lying, turn=90, tone_seconds=2.0)
    write_video(tmp_path / "uneven.mp4", pictures, times=[90 * n + 40 * (n % 3) for n in range(20)], tone_seconds=2.0)
    if "libx265" in av.codecs_available:
        write_video(tmp_path / "hevc.mov", pictures, tone_seconds=2.0, codec="libx265")
    plain, *others = predictor.predict(sorted(tmp_path.glob("*.m*"), key=lambda path: path.stem != "plain"))
    assert len(others) >= 2
    for answer in others:
        assert answer.modalities == ("audio", "face")
        assert answer.probabilities == pytest.approx(plain.probabilities, abs=0.02)


def test_a_waveform_is_as_good_as_a_file(trained, demo_root):
    predictor = Predictor.from_run(trained)
    path = demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav"
    waveform, rate = soundfile.read(path, dtype="float32")
    by_file = predictor(path)
    assert predictor(waveform, sample_rate=rate).probabilities == pytest.approx(by_file.probabilities, abs=1e-6)
    stereo = np.stack([waveform, waveform], axis=1)
    assert predictor(stereo, sample_rate=rate).probabilities == pytest.approx(by_file.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("waveform", "rate", "words"),
    [
        (np.zeros(100), None, "sample_rate"),
        (np.zeros(0), 16_000, "shape"),
        (np.zeros(100, np.int64), 16_000, "this one holds int64"),
        (np.full(100, np.nan), 16_000, "NaN"),
    ],
)
def test_a_waveform_that_is_none_is_refused(trained, waveform, rate, words):
    with pytest.raises(EmotionError, match=words):
        Predictor.from_run(trained)(waveform, sample_rate=rate)


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_number_of_channels(trained, demo_root, tmp_path, rate, channels):
    source = demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav"
    waveform = read_audio(source, rate)
    soundfile.write(tmp_path / "clip.wav", np.repeat(waveform[:, None], channels, axis=1), rate, subtype="FLOAT")
    predictor = Predictor.from_run(trained)
    answers = [predictor(tmp_path / "clip.wav"), predictor(waveform, sample_rate=rate)]
    answers += [predictor(source)] if rate > 16_000 else []  # a lower rate has lost the high voices
    first, *others = [list(answer.probabilities.values()) for answer in answers]
    assert all(first == pytest.approx(other, abs=0.02) for other in others)


def test_files_are_found_by_name_folder_and_pattern(tmp_path):
    for name in ("a.wav", "b.mp3", "deep/c.MP4", "notes.txt", "d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()

    def names(*wanted):
        return [path.name for path in find_media([str(tmp_path / one) for one in wanted]).files]

    assert names("") == ["a.wav", "b.mp3", "d.png", "c.MP4"]
    assert names("*.wav", "a.wav") == ["a.wav"]
    assert names("**/*.MP4") == ["c.MP4"]
    assert names("notes.txt") == ["notes.txt"]  # whoever names a file means it
    missing = find_media([str(tmp_path / name) for name in ("empty", "no.wav", "*.flac")]).missing
    assert [text.rsplit(": ", 1)[1].split()[0] for text in missing] == ["no", "no", "no"]


@pytest.mark.slow
def test_what_cannot_be_judged_is_said_and_the_others_are_answered(trained, demo_root, tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "empty.wav").touch()
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((32, 32, 3), np.uint8))
    good = demo_root / "Actor_01" / "03-01-03-01-01-01-01.wav"
    (tmp_path / "good clip [1].wav").symlink_to(good)
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
        assert "good clip [1].wav" in done.stdout
        assert "Traceback" not in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sum(bool(row["problem"]) for row in rows) == 3
    (row,) = [row for row in rows if row["emotion"]]
    assert sum(float(row[emotion]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-4)


def test_json_holds_everything():
    answers = [Prediction("a.wav", "calm", {"calm": 0.75, "sad": 0.25}, ("audio",), ("no face",)), Problem("b", "why")]
    first, second = json.loads(output.to_json(answers))
    assert first == {
        "name": "a.wav",
        "emotion": "calm",
        "probabilities": {"calm": 0.75, "sad": 0.25},
        "modalities": ["audio"],
        "notes": ["no face"],
    }
    assert second == {"name": "b", "problem": "why"}


def test_two_samples_are_enough_and_silence_and_constants_are_named(trained, tmp_path):
    predictor = Predictor.from_run(trained)
    clip = tmp_path / "clip.wav"
    tone = np.sin(np.arange(800) / 5)
    for samples in (tone[:2], tone / 2, tone * 4e-4):
        soundfile.write(clip, samples, 16_000)
        assert sum(predictor(clip).probabilities.values()) == pytest.approx(1)
    for samples in (np.zeros(1), np.zeros(100_000), tone * 1e-5, np.ones(1) / 2, np.ones(800) / 2):
        soundfile.write(clip, samples, 16_000)
        for predict in (predictor, lambda path: list(predictor.timeline(path))):
            with pytest.raises(EmotionError, match=r"clip\.wav: is silent"):
                predict(clip)
    with pytest.raises(EmotionError, match="waveform: is silent"):
        predictor(np.zeros(16_000), sample_rate=16_000)


@pytest.mark.slow
def test_runs_that_cannot_answer_about_files_alone_are_refused(train_in_process, real_data):
    run_dir = train_in_process("features.normalize=speaker", "trainer.max_epochs=1", name="by_speaker")
    with pytest.raises(EmotionError, match=r"features\.normalize=train"):
        Predictor.from_run(run_dir)
    with pytest.raises(EmotionError, match="is not a run directory"):
        Predictor.from_run(run_dir / "nowhere")
