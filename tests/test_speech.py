"""Tests of the detection of speech, in training and in prediction."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import soundfile
from sounds import RATE, sounds

from conftest import ROOT
from emotion import runs
from emotion.corpora.ravdess import Ravdess
from emotion.inference import Predictor
from emotion.inference.timeline_figure import timeline_figure
from emotion.media.audio import read_audio
from emotion.media.int16 import to_int16
from emotion.pipelines.train import train
from emotion.prepare.speech import PAD_S, speech_only, speech_parts, speech_probability
from emotion.prepare.waveforms import prepare_waveforms


@pytest.fixture(scope="module")
def clip(real_data):
    """A clip of RAVDESS with pauses at both ends: its path and its samples."""
    path = next((real_data / "ravdess" / "Audio_Speech_Actors_01-24" / "Actor_05").glob("03-01-05-02-01-01-05.*"))
    return path, to_int16(read_audio(path, RATE))


@pytest.fixture(scope="module")
def speech_run(real_data, tmp_path_factory):
    """A run on four actors of RAVDESS with `data.speech_only=true`, hardly trained."""
    from emotion.config.compose import compose

    root = tmp_path_factory.mktemp("speech")
    for actor in ("Actor_01", "Actor_05", "Actor_09", "Actor_10"):
        (root / actor).symlink_to(real_data / "ravdess" / "Audio_Speech_Actors_01-24" / actor)
    overrides = ["data=ravdess", f"data.root={root}", "data.speech_only=true", "trainer.max_epochs=1"]
    overrides += ["model.backbone.channels=[4,4,4,4]"]
    directory = root / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emotion.plots.tensorboard.write_summary", lambda *_: None)
        train(compose("train", overrides), directory, overrides, hints=False)
    return directory


def test_probabilities_equal_those_of_the_package(clip):
    """The reference is the streaming model of silero-vad, frame by frame."""
    torch = pytest.importorskip("torch")
    import silero_vad

    model = silero_vad.load_silero_vad()
    samples = torch.from_numpy(clip[1].astype(np.float32) / 32768)
    expected = [float(model(frame, RATE)) for frame in samples.split(512) if len(frame) == 512]
    found = speech_probability(clip[1], RATE)
    np.testing.assert_allclose(found[: len(expected)], expected, atol=2e-3)


def test_long_audio_is_computed_in_blocks_with_the_same_result(clip):
    long = np.tile(clip[1], 12)  # more than one block
    whole = speech_probability(long, RATE)
    assert len(whole) == -(-len(long) // 512) > 1_000
    np.testing.assert_allclose(whole[:100], speech_probability(clip[1], RATE)[:100], atol=1e-5)


def test_pauses_are_left_out_and_speech_is_kept(clip):
    samples = clip[1]
    parts = speech_parts(samples, RATE)
    kept = speech_only(samples, RATE)
    assert 1 <= len(parts) <= 4
    assert len(kept) == sum(end - start for start, end in parts) < 0.8 * len(samples)
    assert all(one[1] < other[0] for one, other in pairwise(parts))
    energy = np.square(samples.astype(float)).sum()
    assert np.square(kept.astype(float)).sum() > 0.95 * energy
    half = to_int16(read_audio(clip[0], 8_000))
    assert parts[0][0] / RATE == pytest.approx(speech_parts(half, 8_000)[0][0] / 8_000, abs=PAD_S)


@pytest.mark.parametrize("level_db", [0, -20, -40])
def test_level_hardly_matters(clip, level_db):
    quiet = to_int16(clip[1] / 32768 * 10 ** (level_db / 20))
    assert len(speech_only(quiet, RATE)) == pytest.approx(len(speech_only(clip[1], RATE)), rel=0.25)


@pytest.mark.slow
def test_sounds_without_speech_are_not_speech():
    found = {f"{name} ({seed})": speech_parts(to_int16(sound), RATE) for seed in (0, 1) for name, sound in sounds(seed)}
    assert len(found) >= 100
    taken = [name for name, parts in found.items() if parts]
    assert len(taken) <= 0.05 * len(found), taken
    assert speech_parts(np.zeros(0, np.int16), RATE) == []


@pytest.mark.slow
def test_speech_of_all_corpora_is_detected(real_data):
    """Whispers and sobs of ASED are missed at times; the other corpora hold clear speech."""
    for folder, at_least in (("ravdess/Audio_Speech_Actors_01-24/Actor_05", 1.0), ("tess/OAF_sad", 1.0), ("ased", 0.9)):
        files = sorted((real_data / folder).rglob("*.*"))[:: 25 if folder == "ased" else 1]
        spoken = [len(speech_parts(to_int16(read_audio(file, RATE)), RATE)) > 0 for file in files]
        assert np.mean(spoken) >= at_least, folder


def test_prepared_speech_is_cached_apart(real_data, tmp_path):
    directory = Ravdess().locate(str(real_data))
    table = Ravdess().scan(directory, "speech").head(3)
    whole = prepare_waveforms(table, directory, RATE, tmp_path)
    speech = prepare_waveforms(table, directory, RATE, tmp_path, speech_only=True)
    assert (speech.index["length"] < whole.index["length"]).all()
    offset, length = speech.index.iloc[0][["offset", "length"]]
    own = whole.columns["waveforms"][: whole.index["length"].iloc[0]]
    np.testing.assert_array_equal(speech.columns["waveforms"][offset : offset + length], speech_only(own, RATE))


def test_labelled_clips_without_detected_speech_are_kept(tmp_path, caplog):
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a" / "noise.wav", 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    table = pd.DataFrame({"recording": ["folder/noise"], "audio": ["noise.wav"]})
    store = prepare_waveforms(table, tmp_path / "a", RATE, tmp_path / "cache", speech_only=True)
    assert store.index["length"].iloc[0] == RATE
    assert "no speech was detected in it, so all of it is used" in caplog.text


def test_predictions_of_files_equal_those_of_training(speech_run, real_data):
    predictor, expected = Predictor.from_run(speech_run), pd.read_csv(speech_run / "predictions.csv").tail(3)
    assert runs.load_config(speech_run).data.speech_only
    for row in expected.to_dict("records"):
        take = f"03-{row['recording'].split('/')[1]}"
        (file,) = (real_data / "ravdess" / "Audio_Speech_Actors_01-24").rglob(f"{take}.*")
        prediction = predictor.predict(file)
        for label, probability in prediction.probabilities.items():
            assert probability == pytest.approx(row[label], abs=2e-6)


def test_files_without_speech_are_answered_no_speech(speech_run, clip, tmp_path, command):
    silence, music = np.zeros(2 * RATE), dict(sounds())["organ, 3 voices"]
    soundfile.write(tmp_path / "silence.wav", silence, RATE)
    soundfile.write(tmp_path / "music.wav", music, RATE)
    files = (tmp_path / "silence.wav", tmp_path / "music.wav", clip[0])
    for form in ("json", "csv", "table"):
        result = command("predict", *map(str, files), "--run", str(speech_run), "--format", form)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("no speech") >= 2
        if form == "json":
            quiet, played, spoken = json.loads(result.stdout)
            assert (quiet["emotion"], quiet["probabilities"], quiet["modalities"]) == ("no speech", {}, [])
            assert quiet["notes"] == ["is silent"]
            assert (played["emotion"], played["notes"]) == ("no speech", ["no speech was detected"])
            assert spoken["modalities"] == ["audio"]
    assert Predictor.from_run(speech_run).predict(music, sample_rate=RATE).emotion == "no speech"


def test_timelines_show_where_there_is_no_speech(speech_run, clip, tmp_path, command):
    speech, noise = clip[1] / 32768, 0.1 * np.random.default_rng(0).standard_normal(4 * RATE)
    soundfile.write(tmp_path / "both.wav", np.concatenate([speech, noise, speech]), RATE)
    options = ("--run", str(speech_run), "--format", "json", "--window", "2", "--plot", "a.png")
    result = command("predict", "both.wav", *options)
    assert result.returncode == 0, result.stderr
    emotions = [segment["emotion"] for segment in json.loads(result.stdout)]
    assert emotions.count("no speech") >= 2
    assert emotions[1] != "no speech"
    assert (tmp_path / "a.png").is_file()
    predictor = Predictor.from_run(speech_run)
    segments = list(predictor.timeline(tmp_path / "both.wav", window=2, hop=1))
    (label,) = timeline_figure(segments, predictor.labels).axes[0].texts
    assert label.get_text() == "no speech"
    assert len(speech) / RATE < label.get_position()[0] < len(speech) / RATE + 4


def test_detection_needs_no_torch(tmp_path):
    code = (
        "import sys, numpy as np; from emotion.prepare.speech import speech_parts; "
        "print(speech_parts(np.zeros(16000, np.int16), 16000), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[] False\n"
