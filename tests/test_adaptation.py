"""Tests of normalisation by the recordings that are predicted, of distances, and of temperatures for other corpora."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import wavfile
from sounds import RATE, sounds

from conftest import build_classifier
from emotion import runs
from emotion.errors import EmotionError
from emotion.features.normalization import FrontEnd
from emotion.inference import Predictor
from emotion.inference.speakers import groups_of
from emotion.pipelines.evaluate import evaluate
from emotion.reports.runs import Run
from emotion.reports.temperature import temperature_table


class Given(FrontEnd):
    """A front end whose batches hold features themselves."""

    def present(self, batch):
        return batch["frames"] > 0

    def compute_features(self, batch):
        return batch["features"], batch["frames"]


def given(values, groups):
    frames = torch.full((len(values),), values.shape[2])
    return {"features": values, "frames": frames, "speaker": torch.tensor(groups)}


def test_large_groups_get_zero_mean_and_unit_variance():
    end, values = Given(3, "train"), torch.randn(200, 3, 5, generator=torch.Generator().manual_seed(0)) * 4 + 7
    batch = given(values, [0, 1] * 100)
    end.adapt([batch], 2)
    normalized, _ = end.normalized(batch)
    assert abs(float(normalized[::2].mean())) < 0.1
    assert float(normalized[1::2].std()) == pytest.approx(1, abs=0.1)


def test_the_train_split_counts_as_one_recording():
    end = Given(1, "train")
    end.mean.fill_(2.0)
    end.std.fill_(3.0)
    end.adapt([given(torch.full((1, 1, 4), 6.0), [0])], 2)
    assert end.group_mean[0] == pytest.approx(4.0)
    assert end.group_std[0] == pytest.approx(np.sqrt((36 + 4 + 9) / 2 - 16))
    assert (end.group_mean[1], end.group_std[1]) == (pytest.approx(2.0), pytest.approx(3.0))  # without recordings


@pytest.mark.parametrize("normalize", ["train", "speaker"])
def test_statistics_of_train_are_of_all_groups_and_serve_adaptation(normalize):
    end, values = Given(1, normalize), torch.tensor([[[2.0]], [[4.0]], [[6.0]]])
    end.fit([given(values, [0, 1, 1])])
    assert (end.mean, end.std) == (pytest.approx(4.0), pytest.approx(np.sqrt(8 / 3)))
    end.adapt([given(torch.full((1, 1, 1), 8.0), [0])], 1)
    assert end.group_mean == pytest.approx(6.0)


@pytest.fixture(scope="module")
def files(demo_root):
    return sorted(demo_root.glob("Actor_0[123]/03-01-0[1-5]-01-01-01-*.wav"))


@pytest.mark.slow
def test_groups_are_all_files_or_folders_or_those_of_a_table(files, tmp_path):
    assert set(groups_of(files, "folder").values()) == {"all"}
    assert len(set(groups_of(files, "speaker").values())) == 3
    table = tmp_path / "speakers.csv"
    lines = "".join(f"{file};{'ab'[n % 2]}\r\n" for n, file in enumerate(files))
    table.write_text(f"File;Speaker\r\n{lines}", encoding="utf-16")
    assert set(groups_of(files, "speaker", table).values()) == {"a", "b"}
    with pytest.raises(EmotionError, match="names no speaker of"):
        groups_of([*files, tmp_path / "other.wav"], "speaker", table)
    table.write_text("name,speaker\nx,y\n")
    with pytest.raises(EmotionError, match="lacks the column file; its columns are name, speaker"):
        groups_of(files, "speaker", table)


@pytest.mark.slow
def test_adapted_answers_depend_on_the_group_only(trained, files):
    predictor = Predictor.from_run(trained)
    plain = [predictor.predict(file) for file in files]
    predictor.adapt(groups_of(files, "speaker"))
    adapted = list(predictor.predict(files))
    assert [prediction.adapted_to for prediction in adapted] == [str(file.parent) for file in files]
    assert all(one.probabilities != other.probabilities for one, other in zip(plain, adapted, strict=True))
    alone = Predictor.from_run(trained)
    first = [file for file in files if file.parent == files[0].parent]
    alone.adapt(groups_of(first, "speaker"))
    for one, other in zip(alone.predict(first), adapted, strict=False):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_the_command_line_marks_what_was_adapted(command, trained, files):
    done = command("predict", *files, "--run", trained, "--adapt", "speaker", "--format", "json")
    answers = json.loads(done.stdout)
    assert done.returncode == 0
    assert {answer["adapted_to"] for answer in answers} == {str(file.parent) for file in files}
    assert "adapted to 3 groups of 15 recordings, without labels" in done.stderr


def test_a_timeline_adapts_to_all_windows(command, trained, files, tmp_path):
    rate, samples = wavfile.read(files[0])
    pause = np.zeros(rate // 2, samples.dtype)
    clips = [wavfile.read(file)[1] for file in files[:5]]
    wavfile.write(tmp_path / "long.wav", rate, np.concatenate([part for clip in clips for part in (clip, pause)]))
    long, predictor = tmp_path / "long.wav", Predictor.from_run(trained)
    plain = list(predictor.timeline(long))
    done = command("predict", long, "--run", trained, "--timeline", "--adapt", "folder", "--format", "json")
    adapted = json.loads(done.stdout)
    assert [segment["start"] for segment in adapted] == [segment.start for segment in plain]
    assert {segment["adapted_to"] for segment in adapted} == {"all"}
    predictor.adapt({long: "all"}, (3.0, 1.0))
    for segment, before, after in zip(adapted, plain, predictor.timeline(long), strict=True):
        assert segment["probabilities"] == pytest.approx(after.prediction.probabilities, abs=1e-4)
        assert segment["probabilities"] != pytest.approx(before.prediction.probabilities, abs=1e-4)
    with pytest.raises(EmotionError, match="0 < hop <= window"):
        predictor.adapt({long: "all"}, (3.0, 0.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--adapt", "folder", "--speakers", "speakers.csv"], "use one of them"),
        (["--speakers", "none.csv"], "cannot read none.csv"),
    ],
)
def test_contradictions_are_refused(command, trained, files, arguments, message):
    done = command("predict", files[0], "--run", trained, *arguments)
    assert done.returncode != 0
    assert message in done.stderr


def test_nothing_is_adapted_to_missing_files(command, trained, tmp_path):
    done = command("predict", tmp_path / "none.wav", "--run", trained, "--adapt", "folder")
    assert done.returncode != 0
    assert done.stderr == f"error: {tmp_path}/none.wav: no such file\n"


@pytest.mark.slow
def test_a_model_of_speakers_predicts_with_adaptation_only(train_in_process, demo_root, files):
    small = ("trainer.max_epochs=1", "model.backbone.channels=[4,4,4,4]")
    predictor = Predictor.from_run(
        train_in_process(f"data.root={demo_root.parent}", "features.normalize=speaker", *small)
    )
    with pytest.raises(EmotionError, match="normalises by speaker: predict recordings together, with --adapt"):
        predictor.predict(files[0])
    predictor.adapt(groups_of(files, "speaker"))
    assert len(list(predictor.predict(files))) == len(files)


def test_a_model_without_statistics_cannot_be_adapted(compose):
    composed = compose("features.normalize=clip")
    (end,) = build_classifier(composed, 6).front_ends
    assert not end.is_adaptable


@pytest.mark.slow
def test_adapted_evaluations_are_transductive(trained, compose, demo_root):
    overrides = [f"run={trained}", f"data.root={demo_root.parent}", "adapt=speaker", "split=dev"]
    results = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert results["transductive"]
    assert results["name"].endswith("_adapted_to_speaker")
    overrides[2] = "adapt=room"
    with pytest.raises(EmotionError, match="adapt=room"):
        evaluate(compose(*overrides, config_name="evaluate"), overrides)


@pytest.fixture(scope="module")
def labelled(demo_root, tmp_path_factory):
    """Four recordings of three emotions by each of eight people."""
    root = tmp_path_factory.mktemp("labelled")
    for emotion, name in (("01", "neutral"), ("03", "happy"), ("05", "angry")):
        (root / name).mkdir()
        for path in sorted(demo_root.glob(f"Actor_0[1-8]/03-01-{emotion}-01-*.wav")):
            (root / name / f"person{path.stem[-2:]}_{path.name}").symlink_to(path)
    return root


def test_a_model_is_fitted_to_labelled_recordings(command, trained, labelled, tmp_path, caplog):
    caplog.set_level("INFO")
    output = tmp_path / "my model"
    done = command("adapt", labelled, "--from", trained, "--output", output, "--speaker", "person..")
    assert done.returncode == 0, done.stderr
    assert "protocol speakers5" in caplog.text
    assert "labels: UAR " in caplog.text
    metrics = runs.load_metrics(output)
    assert metrics["speaker_independent"]
    assert metrics["test/uar"] > 0.5
    (answer,) = json.loads(
        command("predict", next((labelled / "happy").iterdir()), "--run", output, "--format", "json").stdout
    )
    assert set(answer["probabilities"]) == {"neutral", "happy", "angry"}
    again = command("adapt", labelled, "--from", trained, "--output", output)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "already holds a run" in again.stderr


@pytest.mark.slow
def test_a_table_names_speakers(command, trained, labelled, tmp_path, caplog):
    caplog.set_level("INFO")
    table = tmp_path / "labels.csv"
    rows = [f"{path},{path.parent.name},{path.name[:8]}" for path in sorted(labelled.glob("*/*.wav"))]
    table.write_text("\n".join(["file,emotion,speaker", *rows]) + "\n")
    done = command("adapt", labelled, "--from", trained, "--output", tmp_path / "run", "--table", table)
    assert done.returncode == 0, done.stderr
    assert "protocol speakers5" in caplog.text
    assert "speakers are unknown" not in caplog.text
    command("adapt", labelled, "--from", trained, "--output", tmp_path / "other")
    assert "speakers are unknown" in caplog.text


@pytest.mark.slow
def test_other_sounds_are_farther_than_speech(real_data):
    predictor = Predictor.shipped()
    speech = sorted((real_data / "ravdess" / "Audio_Speech_Actors_01-24").rglob("*.flac"))[::40]
    near = [prediction.distance for prediction in predictor.predict(speech)]
    predictor.reader.speech_only = False
    far = [predictor.predict(sound, RATE).distance for _, sound in sounds() if np.abs(sound).max() > 0.001]
    above = np.mean([[b > a for a in near] for b in far])
    assert above > 0.95  # the area under the ROC curve


@pytest.fixture
def runs_of_corpora(tmp_path):
    """Runs on three corpora with logits that are too large by 2, 3 and 4, but small."""
    random = np.random.default_rng(0)
    labels = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    found = []
    for fold, factor in enumerate((2, 3, 4)):
        logits = random.standard_normal((4000, 7)) / 2
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        truth = [labels[random.choice(7, p=row)] for row in probabilities]
        sharp = np.exp(factor * logits) / np.exp(factor * logits).sum(axis=1, keepdims=True)
        table = pd.DataFrame(sharp, columns=list(labels)).assign(split="test", emotion=truth)
        (tmp_path / str(fold)).mkdir()
        table.to_csv(tmp_path / str(fold) / "predictions.csv", index=False)
        found.append(Run(tmp_path / str(fold), {"fold": fold, "labels": "seven", "name": "x"}))
    return found


def test_factors_of_other_corpora_calibrate(runs_of_corpora):
    factor, table = temperature_table(runs_of_corpora)
    assert factor == pytest.approx(24 ** (1 / 3), rel=0.1)
    assert table["factor"].tolist() == pytest.approx([2, 3, 4], rel=0.15)
    assert table["factor_of_others"].tolist() == pytest.approx([12**0.5, 8**0.5, 6**0.5], rel=0.15)
    assert (table["ece_of_others"] < table["ece"]).all()
    assert (table["accuracy_of_third"] > table["accuracy"]).all()
    with pytest.raises(EmotionError, match="at least two folds"):
        temperature_table(runs_of_corpora[:1])


def test_the_factor_multiplies_the_temperature_of_dev(train_in_process, demo_root):
    small = (f"data.root={demo_root.parent}", "trainer.max_epochs=1", "model.backbone.channels=[4,4,4,4]")
    plain, doubled = (
        runs.load_metrics(train_in_process(*small, f"training.temperature_factor={factor}", name=f"x{factor}"))
        for factor in (1, 2)
    )
    assert doubled["temperature"] == pytest.approx(2 * plain["temperature"], rel=1e-3)
