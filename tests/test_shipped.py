"""Tests of the model that is shipped with the package."""

import json
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from emotion import runs
from emotion.inference import Predictor
from emotion.inference.card import card
from emotion.inference.shipped import DIRECTORY, PARTS
from emotion.labels import OF_CORPUS, classes
from emotion.pipelines.evaluate import evaluate

SEVEN = list(OF_CORPUS["tess"])
TOLERANCE = 0.05  # of the exported models, which compute in 8 bits


@pytest.fixture(scope="module")
def predictor():
    return Predictor.shipped()


@pytest.fixture(scope="module")
def clips(real_data):
    """Return videos of three speakers of RAVDESS."""
    return sorted((real_data / "ravdess_faces" / "clips").glob("*.mp4"))


def test_files_are_small_and_list_their_training_data():
    for part in PARTS:
        files = [file for file in (DIRECTORY / part).rglob("*") if file.is_file()]
        assert max(file.stat().st_size for file in files) < 5e6
        splits = runs.load_splits(DIRECTORY / part)
        assert {"train", "dev", "test"} <= set(splits["split"])
        assert list(classes(runs.load_config(DIRECTORY / part).labels)) == SEVEN
    audio = runs.load_splits(DIRECTORY / "audio")
    assert not set(audio.query("split == 'train'")["speaker"]) & set(audio.query("split == 'test'")["speaker"])


@pytest.mark.parametrize("part", PARTS)
def test_configuration_equals_that_of_its_experiment(compose, part):
    name = {"audio": "audio", "face": "face"}[part]
    composed = compose(f"experiment=shipped_{name}")
    current = OmegaConf.to_container(composed) | {"data": OmegaConf.to_container(composed.data, resolve=True)}
    saved = runs.load_composed(DIRECTORY / part)
    shipped = OmegaConf.to_container(saved) | {"data": OmegaConf.to_container(saved.data, resolve=True)}
    assert shipped == {key: current[key] for key in shipped}


@pytest.mark.slow
def test_predictions_of_fifty_recordings_equal_those_of_evaluation(predictor, real_data, compose, tmp_path):
    shutil.copytree(DIRECTORY / "audio", tmp_path / "audio")
    overrides = [f"run={tmp_path / 'audio'}", f"data.root={real_data}"]
    evaluate(compose(*overrides, config_name="evaluate"), overrides)
    table = next((tmp_path / "audio" / "evaluations").glob("*-pooled-*/predictions.csv"))
    expected = pd.read_csv(table).set_index("recording")
    expected = expected[expected.index.str.startswith("ravdess/")].iloc[::6].head(50)
    assert len(expected) == 50
    root = real_data / "ravdess" / "Audio_Speech_Actors_01-24"
    files = [root / f"Actor_{name[-2:]}" / f"03-{name.split('/')[1]}.flac" for name in expected.index]
    same = []
    for prediction, row in zip(predictor.predict(files), expected.itertuples(), strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(
            [getattr(row, label) for label in SEVEN], abs=TOLERANCE
        )
        same.append(prediction.emotion == row.predicted)
    assert np.mean(same) > 0.9


@pytest.mark.slow
def test_predictions_of_videos_are_the_mean_of_audio_and_face(predictor, clips):
    audio, face = (Predictor.from_run(DIRECTORY / part) for part in PARTS)
    assert len(clips) == 3
    for clip in clips:
        prediction = predictor.predict(clip)
        assert prediction.modalities == ("audio", "face")
        logs = [np.log(list(one.predict(clip).probabilities.values())) for one in (audio, face)]
        joint = np.exp(np.mean(logs, axis=0))
        assert list(prediction.probabilities.values()) == pytest.approx(joint / joint.sum(), abs=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_predictions_of_videos_equal_those_of_evaluation(clips, compose, tmp_path, part):
    """The videos form a folder corpus, which evaluation decodes, crops and batches."""
    for number, clip in enumerate(clips):
        (tmp_path / "corpus" / SEVEN[number]).mkdir(parents=True)
        (tmp_path / "corpus" / SEVEN[number] / clip.name).symlink_to(clip)
    shutil.copytree(DIRECTORY / part, tmp_path / part)
    overrides = [f"run={tmp_path / part}", "data=folder", f"data.root={tmp_path / 'corpus'}", "protocol=all_test"]
    evaluate(compose(*overrides, config_name="evaluate"), overrides)
    expected = pd.read_csv(next((tmp_path / part / "evaluations").glob("folder-*/predictions.csv")))
    assert len(expected) == 3
    predictor = Predictor.from_run(DIRECTORY / part)
    for row in expected.itertuples():
        prediction = predictor.predict(next(clip for clip in clips if clip.stem in row.recording)).probabilities
        assert list(prediction.values()) == pytest.approx([getattr(row, label) for label in SEVEN], abs=1e-4)


@pytest.mark.slow
def test_photographs_are_cropped_and_crops_used_as_they_are(predictor, real_data, tmp_path):
    still = real_data / "ravdess_faces" / "actor_stills" / "Actor_01.png"
    prediction = predictor.predict(still)
    assert prediction.modalities == ("face",)
    assert prediction.notes == ("an image has no audio",)
    crop = predictor.reader.read(still).arrays["face"][0]
    assert crop.shape == (48, 48, 1)
    cv2.imwrite(str(tmp_path / "crop.png"), crop)
    assert predictor.predict(tmp_path / "crop.png").probabilities == pytest.approx(prediction.probabilities, abs=1e-5)


@pytest.mark.slow
def test_shipped_model_is_the_default_of_predict(demo_root):
    clip = sorted((demo_root / "Actor_01").glob("03-*.wav"))[0]
    command = [sys.executable, "-m", "emotion.cli", "predict", str(clip), "--format", "json"]
    (prediction,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert list(prediction["probabilities"]) == SEVEN
    assert prediction["modalities"] == ["audio"]


def test_files_with_and_without_audio_are_predicted_together(predictor, demo_root, real_data):
    clip = sorted(demo_root.glob("Actor_01/03-*.wav"))[0]
    still = real_data / "ravdess_faces" / "actor_stills" / "Actor_01.png"
    predictor.reader.speech_only = False  # the demo corpus has synthetic voices
    first, second = predictor.predict([clip, still])
    predictor.reader.speech_only = True
    assert first.distance > 0
    assert second.distance is None


@pytest.mark.slow
def test_card_states_metrics_and_out_of_scope_use():
    text = card()
    assert not re.search(r"\{\w", text)
    metrics = runs.load_metrics(DIRECTORY / "audio")
    assert f"{metrics['test/uar']:.3f} [{metrics['test/uar_low']:.2f}, {metrics['test/uar_high']:.2f}]" in text
    assert "CC BY-NC-SA 4.0" in text
    assert "Do not use it for decisions about people" in text
    done = subprocess.run([sys.executable, "-m", "emotion.cli", "card"], capture_output=True, text=True, check=True)
    assert done.stdout == text


@pytest.mark.slow
def test_audio_is_predicted_without_torch(real_data):
    clip = next((real_data / "ravdess" / "Audio_Speech_Actors_01-24").rglob("*.flac"))
    script = "import runpy, sys\ntry:\n    runpy.run_module('emotion.cli', run_name='__main__')\nfinally:\n"
    script += "    print('torch' in sys.modules, file=sys.stderr)\n"
    command = [sys.executable, "-c", script, "predict", str(clip), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["False"]
    (prediction,) = json.loads(done.stdout)
    reference = Predictor.from_run(DIRECTORY / "audio").predict(clip)
    assert prediction["probabilities"] == pytest.approx(reference.probabilities, abs=TOLERANCE)
    assert prediction["distance"] == pytest.approx(reference.distance, rel=0.05)
