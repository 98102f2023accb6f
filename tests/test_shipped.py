"""The model that comes with the package."""

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


@pytest.fixture(scope="module")
def predictor():
    return Predictor.shipped()


@pytest.fixture(scope="module")
def clips(real_data):
    """Videos of three people of RAVDESS, with what is drawn on them."""
    return sorted((real_data / "ravdess_faces" / "clips").glob("*.mp4"))


def test_its_files_are_small_and_say_what_they_learnt_from():
    for part in PARTS:
        files = [file for file in (DIRECTORY / part).rglob("*") if file.is_file()]
        assert max(file.stat().st_size for file in files) < 5e6
        splits = runs.load_splits(DIRECTORY / part)
        assert {"train", "dev", "test"} <= set(splits["split"])
        assert list(classes(runs.load_config(DIRECTORY / part).labels)) == SEVEN
    sound = runs.load_splits(DIRECTORY / "audio")
    assert not set(sound.query("split == 'train'")["speaker"]) & set(sound.query("split == 'test'")["speaker"])


@pytest.mark.parametrize("part", PARTS)
def test_its_experiment_is_that_of_its_configuration(compose, part):
    name = {"audio": "audio", "face": "face"}[part]
    today = OmegaConf.to_container(compose(f"experiment=shipped_{name}"))
    shipped = OmegaConf.to_container(runs.load_composed(DIRECTORY / part))
    assert shipped == {key: today[key] for key in shipped}


@pytest.mark.slow
def test_fifty_recordings_are_judged_as_evaluation_judges_them(predictor, real_data, compose, tmp_path):
    shutil.copytree(DIRECTORY / "audio", tmp_path / "audio")
    typed = [f"run={tmp_path / 'audio'}", f"data.root={real_data}"]
    evaluate(compose(*typed, config_name="evaluate"), typed)
    table = next((tmp_path / "audio" / "evaluations").glob("ravdess-luna5-*/predictions.csv"))
    expected = pd.read_csv(table).set_index("recording").iloc[::6].head(50)
    assert len(expected) == 50
    root = real_data / "ravdess" / "Audio_Speech_Actors_01-24"
    files = [root / f"Actor_{name[-2:]}" / f"03-{name.split('/')[1]}.flac" for name in expected.index]
    for prediction, row in zip(predictor.predict(files), expected.itertuples(), strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(
            [getattr(row, label) for label in SEVEN], abs=1e-4
        )
        assert prediction.emotion == row.predicted


@pytest.mark.slow
def test_a_video_is_judged_by_the_mean_of_what_both_parts_say(predictor, clips):
    sound, face = (Predictor.from_run(DIRECTORY / part) for part in PARTS)
    assert len(clips) == 3
    for clip in clips:
        prediction = predictor(clip)
        assert prediction.modalities == ("audio", "face")
        logs = [np.log(list(one(clip).probabilities.values())) for one in (sound, face)]
        joint = np.exp(np.mean(logs, axis=0))
        assert list(prediction.probabilities.values()) == pytest.approx(joint / joint.sum(), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_videos_are_judged_as_evaluation_judges_them(clips, compose, tmp_path, part):
    """As a corpus of people's own, so that decoding, faces and batches go the way of evaluation."""
    for number, clip in enumerate(clips):
        (tmp_path / "corpus" / SEVEN[number]).mkdir(parents=True)
        (tmp_path / "corpus" / SEVEN[number] / clip.name).symlink_to(clip)
    shutil.copytree(DIRECTORY / part, tmp_path / part)
    typed = [f"run={tmp_path / part}", "data=folder", f"data.root={tmp_path / 'corpus'}", "protocol=all_test"]
    evaluate(compose(*typed, config_name="evaluate"), typed)
    expected = pd.read_csv(next((tmp_path / part / "evaluations").glob("folder-*/predictions.csv")))
    assert len(expected) == 3
    predictor = Predictor.from_run(DIRECTORY / part)
    for row in expected.itertuples():
        prediction = predictor(next(clip for clip in clips if clip.stem in row.recording)).probabilities
        assert list(prediction.values()) == pytest.approx([getattr(row, label) for label in SEVEN], abs=1e-4)


@pytest.mark.slow
def test_a_photograph_is_judged_by_its_face_and_a_crop_as_it_is(predictor, real_data, tmp_path):
    still = real_data / "ravdess_faces" / "actor_stills" / "Actor_01.png"
    prediction = predictor(still)
    assert prediction.modalities == ("face",)
    assert prediction.notes == ("an image has no audio",)
    crop = predictor.reader.read(still).arrays["face"][0]
    assert crop.shape == (48, 48, 1)
    cv2.imwrite(str(tmp_path / "crop.png"), crop)
    assert predictor(tmp_path / "crop.png").probabilities == pytest.approx(prediction.probabilities, abs=1e-5)


@pytest.mark.slow
def test_it_answers_where_no_run_is_named(demo_root):
    clip = sorted((demo_root / "Actor_01").glob("03-*.wav"))[0]
    command = [sys.executable, "-m", "emotion.cli", "predict", str(clip), "--format", "json"]
    (prediction,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert list(prediction["probabilities"]) == SEVEN
    assert prediction["modalities"] == ["audio"]


@pytest.mark.slow
def test_its_card_says_how_good_it_is_and_for_what_not():
    text = card()
    assert not re.search(r"\{\w", text)
    metrics = runs.load_metrics(DIRECTORY / "audio")
    assert f"{metrics['test/uar']:.3f} [{metrics['test/uar_low']:.2f}, {metrics['test/uar_high']:.2f}]" in text
    assert "CC BY-NC-SA 4.0" in text
    assert "Do not use it for decisions about people" in text
    done = subprocess.run([sys.executable, "-m", "emotion.cli", "card"], capture_output=True, text=True, check=True)
    assert done.stdout == text
