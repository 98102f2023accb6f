"""Tests of models that are initialised from finished runs."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from conftest import typed_config
from emotion import runs, warm_start
from emotion.corpora.demo import Demo
from emotion.errors import EmotionError
from emotion.labels import EMOTIONS
from emotion.pipelines.evaluate import evaluate
from emotion.pipelines.train import train
from emotion.prepare.action_units import INTENSITIES, PRESENCES
from emotion.reports.runs import find_runs

AUDIO = ("model=mfcc_cnn", "model.backbone.channels=[4,4]")
FUSION = ("model=late_fusion", "model.branches.face=action_units")


@pytest.fixture(scope="module")
def units(demo_root, tmp_path_factory):
    """Return the override of a table of weakly predictive action units of the demo corpus."""
    table = Demo().scan(demo_root)
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.random((len(table), 35)), columns=INTENSITIES + PRESENCES)
    values["AU01_r"] += table["emotion"].map(EMOTIONS.index).to_numpy() / 4
    path = tmp_path_factory.mktemp("units") / "units.csv"
    values.assign(name=table["recording"].str.replace("demo/", "01-")).to_csv(path, index=False)
    return f"action_units.table={path}"


@pytest.fixture(scope="module")
def finished(units, tmp_path_factory):
    """Return a folder with a run on audio and a run on action units."""
    import hydra

    from emotion.config.compose import DIRECTORY

    root = tmp_path_factory.mktemp("finished")
    for name, overrides in (("audio", AUDIO), ("units", ("model=action_units", units))):
        overrides = [*overrides, "trainer.max_epochs=2"]
        with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
            config = hydra.compose("train", overrides=overrides)
        train(config, root / name, overrides)
    return root


@pytest.fixture
def fusion_overrides(finished, units):
    """Return the overrides of a fusion that is initialised from both runs."""
    return (
        *FUSION,
        units,
        f"model.branches.audio.init_from={finished}/audio",
        f"model.branches.face.init_from={finished}/units",
    )


def load_weights(run_dir, part):
    return {
        name.removeprefix(part): value for name, value in runs.load_weights(run_dir).items() if name.startswith(part)
    }


def are_equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_frozen_encoders_are_unchanged_and_initial_runs_are_no_longer_needed(
    finished, fusion_overrides, tmp_path, train_in_process, compose
):
    frozen = ("model.branches.audio.freeze=true", "model.branches.face.freeze=true", "trainer.max_epochs=2")
    fused = train_in_process(*fusion_overrides, *frozen)
    for part, initial in (("audio", "audio"), ("face", "units")):
        assert are_equal(load_weights(finished / initial, "encoder."), load_weights(fused, f"encoder.encoders.{part}."))
    for name in ("config.yaml", "overrides.yaml"):
        assert str(finished) not in (fused / name).read_text()
    initial_runs = json.loads((fused / "environment.json").read_text())["starts_from"]
    assert initial_runs == {"model.branches.audio": f"{finished}/audio", "model.branches.face": f"{finished}/units"}
    # The backbone is that of the initial run, not the default.
    assert OmegaConf.load(fused / "config.yaml").model.branches.audio.backbone.channels == [4, 4]

    hidden = tmp_path / "hidden"
    shutil.move(finished, hidden)
    try:
        overrides = [f"run={fused}"]
        evaluated = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    finally:
        shutil.move(hidden, finished)
    assert evaluated["test/uar"] == json.loads((fused / "metrics.json").read_text())["test/uar"]


@pytest.mark.slow
def test_lr_multiplier_reduces_the_change_of_fine_tuned_encoders(finished, fusion_overrides, train_in_process):
    fused = train_in_process(*fusion_overrides, "trainer.max_epochs=1", "model.branches.audio.lr_multiplier=0.01")
    faster = train_in_process(*fusion_overrides, "trainer.max_epochs=1", name="faster")

    def weight_change(run_dir, part, initial):
        old, new = load_weights(finished / initial, "encoder."), load_weights(run_dir, f"encoder.encoders.{part}.")
        names = [name for name in old if name.endswith("weight")]
        return sum(float((old[name] - new[name]).abs().sum()) for name in names)

    assert 0 < weight_change(fused, "audio", "audio") < 0.2 * weight_change(faster, "audio", "audio")
    assert weight_change(fused, "face", "units") > 0


@pytest.mark.slow
def test_encoders_are_frozen_for_the_given_number_of_epochs(finished, fusion_overrides, train_in_process):
    freeze = ("model.branches.audio.freeze=2", "model.branches.face.freeze=true")
    two = train_in_process(*fusion_overrides, *freeze, "trainer.max_epochs=2")
    three = train_in_process(*fusion_overrides, *freeze, "trainer.max_epochs=3", name="three")
    initial = load_weights(finished / "audio", "encoder.")
    last = "checkpoints/last.ckpt"
    for run_dir, expected in ((two, True), (three, False)):
        state = torch.load(run_dir / last, weights_only=True, map_location="cpu")["state_dict"]
        prefix = "classifier.encoder.encoders.audio."
        current = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        assert are_equal(initial, current) == expected


@pytest.mark.slow
def test_mean_log_probability_of_frozen_encoders_needs_no_training(finished, fusion_overrides, train_in_process):
    frozen = (
        "model/fusion=mean_log_probability",
        "model.branches.audio.freeze=true",
        "model.branches.face.freeze=true",
    )
    fused = train_in_process(*fusion_overrides, *frozen)
    assert json.loads((fused / "metrics.json").read_text())["epochs"] == 0
    tables = [pd.read_csv(path / "predictions.csv") for path in (finished / "audio", finished / "units", fused)]
    for table in tables:
        assert list(table["recording"]) == list(tables[0]["recording"])
    audio, face, fusion = (np.log(table[list(EMOTIONS)].to_numpy()) for table in tables)
    expected = (audio + face) / 2
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(fusion, expected, atol=2e-3)  # files hold six digits of small probabilities


@pytest.mark.slow
def test_augmented_copies_are_those_of_the_new_run(finished, compose):
    given = [*AUDIO[:1], f"model.init_from={finished}/audio", "features.n_augmented_copies=2", "augment=[noise]"]
    merged, _ = warm_start.merge_initial_runs(compose(*given), given)
    assert merged.features.n_augmented_copies == 2
    merged, _ = warm_start.merge_initial_runs(compose(*given[:2]), given[:2])
    assert merged.features.n_augmented_copies == 0


@pytest.mark.slow
def test_fusions_are_evaluated_without_a_modality(finished, fusion_overrides, train_in_process, compose):
    frozen = (
        "model/fusion=mean_log_probability",
        "model.branches.audio.freeze=true",
        "model.branches.face.freeze=true",
    )
    fused = train_in_process(*fusion_overrides, *frozen)
    for without, remaining in (("audio", "units"), ("action_units", "audio")):
        overrides = [f"run={fused}", f"without={without}"]
        evaluated = evaluate(compose(*overrides, config_name="evaluate"), overrides)
        alone = json.loads((finished / remaining / "metrics.json").read_text())
        assert evaluated["test/uar"] == alone["test/uar"]
        assert evaluated["test/loss"] == pytest.approx(alone["test/loss"], abs=1e-5)
        (folder,) = (fused / "evaluations").glob(f"*_without_{without}")
        assert evaluated["name"].endswith(f"_without_{without}")
        assert find_runs([folder])[0].metrics["parameters"] > 0
    assert len(find_runs([fused])) == 1
    for run, without, message in (
        (fused, "faces", "known: action_units, audio"),
        (finished / "audio", "audio", "only input"),
    ):
        overrides = [f"run={run}", f"without={without}"]
        with pytest.raises(EmotionError, match=message):
            evaluate(compose(*overrides, config_name="evaluate"), overrides)


@pytest.mark.slow
def test_resumed_runs_keep_their_initial_runs(finished, fusion_overrides, train_in_process, compose):
    fused = train_in_process(*fusion_overrides, "trainer.max_epochs=1", "scheduler=constant")
    before = json.loads((fused / "environment.json").read_text())["starts_from"]
    overrides = [f"resume={fused}", "trainer.max_epochs=2"]
    train(compose(*overrides), fused, overrides[1:])
    assert json.loads((fused / "environment.json").read_text())["starts_from"] == before
    assert json.loads((fused / "metrics.json").read_text())["epochs"] == 2
    overrides.append(f"model.init_from={finished}/audio")
    with pytest.raises(EmotionError, match="cannot be changed when a run is resumed"):
        train(compose(*overrides), fused, overrides[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["model.branches.audio.init_from=null", "model.branches.audio.freeze=true"],
            "freezes untrained weights",
        ),
        (["protocol.fold=1"], "was trained or selected on"),
        (["features=log_mel"], "features cannot be changed"),
        (["model.branches.audio.backbone.dropout=0.3"], "cannot be changed"),
        (["model.branches.audio.init_from=nowhere"], "nowhere is not a run directory"),
        (["model.branches.face=face_cnn"], "has the inputs action_units"),
        (["model/fusion=mean_log_probability", "labels=happy_sad"], "has the labels emotions"),
    ],
)
def test_unsuitable_initial_runs_are_refused(fusion_overrides, train_in_process, changes, message):
    with pytest.raises(EmotionError, match=message):
        train_in_process(*fusion_overrides, *changes, "trainer.max_epochs=1")


def test_initial_runs_trained_on_test_speakers_are_refused(tmp_path, compose):
    columns = ["split", "recording", "speaker", "emotion"]
    initial = tmp_path / "initial"
    initial.mkdir()
    (initial / "config.yaml").write_text("{}")

    def write_splits(*rows):
        pd.DataFrame(rows, columns=columns).to_csv(initial / "splits.csv", index=False)

    splits = pd.DataFrame(
        [("train", "a/1", "ann", "sad"), ("dev", "b/1", "ben", "sad"), ("test", "c/1", "cid", "sad")], columns=columns
    )
    config, initial_runs = typed_config(compose("protocol=actor6")), {"model": initial}
    write_splits(("train", "a/9", "ann", "sad"), ("dev", "b/1", "ben", "sad"), ("pretraining", "z/1", "zoe", "sad"))
    pretraining = warm_start.pretraining_recordings(config.protocol, initial_runs, splits)
    assert list(pretraining["recording"]) == ["a/9", "z/1"]
    assert set(pretraining["split"]) == {"pretraining"}
    for split, recording, speaker in (("dev", "c/1", "cid"), ("train", "c/2", "cid"), ("pretraining", "c/2", "cid")):
        write_splits((split, recording, speaker, "sad"))
        with pytest.raises(EmotionError, match="of the test split"):
            warm_start.pretraining_recordings(config.protocol, initial_runs, splits)
    write_splits(("train", "c/2", "cid", "sad"))
    assert (
        len(warm_start.pretraining_recordings(typed_config(compose("protocol=random")).protocol, initial_runs, splits))
        == 1
    )
