"""Models that start from finished runs."""

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

SOUND = ("model=mfcc_cnn", "model.backbone.channels=[4,4]")
FUSION = ("model=late_fusion", "model.branches.face=action_units")


@pytest.fixture(scope="module")
def units(demo_root, tmp_path_factory):
    """Action units of the demo corpus that tell the emotion a little."""
    table = Demo().scan(demo_root)
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.random((len(table), 35)), columns=INTENSITIES + PRESENCES)
    values["AU01_r"] += table["emotion"].map(EMOTIONS.index).to_numpy() / 4
    path = tmp_path_factory.mktemp("units") / "units.csv"
    values.assign(name=table["recording"].str.replace("demo/", "01-")).to_csv(path, index=False)
    return f"action_units.table={path}"


@pytest.fixture(scope="module")
def finished(units, tmp_path_factory):
    """A run of sound and one of action units."""
    import hydra

    from emotion.config.compose import DIRECTORY

    root = tmp_path_factory.mktemp("finished")
    for name, overrides in (("sound", SOUND), ("units", ("model=action_units", units))):
        overrides = [*overrides, "trainer.max_epochs=2"]
        with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
            config = hydra.compose("train", overrides=overrides)
        train(config, root / name, overrides)
    return root


@pytest.fixture
def started(finished, units):
    return (
        *FUSION,
        units,
        f"model.branches.audio.init_from={finished}/sound",
        f"model.branches.face.init_from={finished}/units",
    )


def weights_of(run_dir, part):
    return {
        name.removeprefix(part): value for name, value in runs.load_weights(run_dir).items() if name.startswith(part)
    }


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_frozen_encoders_stay_as_they_were_and_the_run_needs_its_initials_no_more(
    finished, started, tmp_path, train_in_process, compose
):
    frozen = ("model.branches.audio.freeze=true", "model.branches.face.freeze=true", "trainer.max_epochs=2")
    fused = train_in_process(*started, *frozen)
    for part, initial in (("audio", "sound"), ("face", "units")):
        assert same(weights_of(finished / initial, "encoder."), weights_of(fused, f"encoder.encoders.{part}."))
    for name in ("config.yaml", "overrides.yaml"):
        assert str(finished) not in (fused / name).read_text()
    starts = json.loads((fused / "environment.json").read_text())["starts_from"]
    assert starts == {"model.branches.audio": f"{finished}/sound", "model.branches.face": f"{finished}/units"}
    # The initial's own network, not what is usual.
    assert OmegaConf.load(fused / "config.yaml").model.branches.audio.backbone.channels == [4, 4]

    hidden = tmp_path / "hidden"
    shutil.move(finished, hidden)
    try:
        again = [f"run={fused}"]
        evaluated = evaluate(compose(*again, config_name="evaluate"), again)
    finally:
        shutil.move(hidden, finished)
    assert evaluated["test/uar"] == json.loads((fused / "metrics.json").read_text())["test/uar"]


@pytest.mark.slow
def test_encoders_that_are_fine_tuned_move_and_a_slower_one_moves_less(finished, started, train_in_process):
    fused = train_in_process(*started, "trainer.max_epochs=1", "model.branches.audio.lr_multiplier=0.01")
    faster = train_in_process(*started, "trainer.max_epochs=1", name="faster")

    def moved(run_dir, part, initial):
        old, new = weights_of(finished / initial, "encoder."), weights_of(run_dir, f"encoder.encoders.{part}.")
        learnt = [name for name in old if name.endswith("weight")]
        return sum(float((old[name] - new[name]).abs().sum()) for name in learnt)

    assert 0 < moved(fused, "audio", "sound") < 0.2 * moved(faster, "audio", "sound")
    assert moved(fused, "face", "units") > 0


@pytest.mark.slow
def test_an_encoder_is_frozen_for_some_epochs(finished, started, train_in_process):
    stays = ("model.branches.audio.freeze=2", "model.branches.face.freeze=true")
    two = train_in_process(*started, *stays, "trainer.max_epochs=2")
    three = train_in_process(*started, *stays, "trainer.max_epochs=3", name="three")
    initial = weights_of(finished / "sound", "encoder.")
    last = "checkpoints/last.ckpt"
    for run_dir, expected in ((two, True), (three, False)):
        state = torch.load(run_dir / last, weights_only=True, map_location="cpu")["state_dict"]
        prefix = "classifier.encoder.encoders.audio."
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        assert same(initial, own) == expected


@pytest.mark.slow
def test_the_mean_of_log_probabilities_needs_no_training(finished, started, train_in_process):
    frozen = (
        "model/fusion=mean_log_probability",
        "model.branches.audio.freeze=true",
        "model.branches.face.freeze=true",
    )
    fused = train_in_process(*started, *frozen)
    assert json.loads((fused / "metrics.json").read_text())["epochs"] == 0
    tables = [pd.read_csv(path / "predictions.csv") for path in (finished / "sound", finished / "units", fused)]
    for table in tables:
        assert list(table["recording"]) == list(tables[0]["recording"])
    sound, face, both = (np.log(table[list(EMOTIONS)].to_numpy()) for table in tables)
    expected = (sound + face) / 2
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(both, expected, atol=2e-3)  # files hold six digits of small probabilities


@pytest.mark.slow
def test_a_fusion_is_judged_without_a_modality(finished, started, train_in_process, compose):
    frozen = (
        "model/fusion=mean_log_probability",
        "model.branches.audio.freeze=true",
        "model.branches.face.freeze=true",
    )
    fused = train_in_process(*started, *frozen)
    for without, left in (("audio", "units"), ("action_units", "sound")):
        typed = [f"run={fused}", f"without={without}"]
        evaluated = evaluate(compose(*typed, config_name="evaluate"), typed)
        alone = json.loads((finished / left / "metrics.json").read_text())
        assert evaluated["test/uar"] == alone["test/uar"]
        assert evaluated["test/loss"] == pytest.approx(alone["test/loss"], abs=1e-5)
        (folder,) = (fused / "evaluations").glob(f"*_without_{without}")
        assert evaluated["name"].endswith(f"_without_{without}")
        assert find_runs([folder])[0].metrics["parameters"] > 0
    assert len(find_runs([fused])) == 1
    for run, without, message in (
        (fused, "faces", "known: action_units, audio"),
        (finished / "sound", "audio", "nothing"),
    ):
        typed = [f"run={run}", f"without={without}"]
        with pytest.raises(EmotionError, match=message):
            evaluate(compose(*typed, config_name="evaluate"), typed)


@pytest.mark.slow
def test_a_run_that_is_resumed_remembers_where_it_started(finished, started, train_in_process, compose):
    fused = train_in_process(*started, "trainer.max_epochs=1", "scheduler=constant")
    before = json.loads((fused / "environment.json").read_text())["starts_from"]
    typed = [f"resume={fused}", "trainer.max_epochs=2"]
    train(compose(*typed), fused, typed[1:])
    assert json.loads((fused / "environment.json").read_text())["starts_from"] == before
    assert json.loads((fused / "metrics.json").read_text())["epochs"] == 2
    typed.append(f"model.init_from={finished}/sound")
    with pytest.raises(EmotionError, match="cannot be changed when it is resumed"):
        train(compose(*typed), fused, typed[1:])


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
def test_what_does_not_fit_is_refused(started, train_in_process, changes, message):
    with pytest.raises(EmotionError, match=message):
        train_in_process(*started, *changes, "trainer.max_epochs=1")


def test_speakers_of_the_test_split_are_unseen_by_initial_runs(tmp_path, compose):
    columns = ["split", "recording", "speaker", "emotion"]
    initial = tmp_path / "initial"
    initial.mkdir()
    (initial / "config.yaml").write_text("{}")

    def seen(*rows):
        pd.DataFrame(rows, columns=columns).to_csv(initial / "splits.csv", index=False)

    own = pd.DataFrame(
        [("train", "a/1", "ann", "sad"), ("dev", "b/1", "ben", "sad"), ("test", "c/1", "cid", "sad")], columns=columns
    )
    config, starts = typed_config(compose("protocol=actor6")), {"model": initial}
    seen(("train", "a/9", "ann", "sad"), ("dev", "b/1", "ben", "sad"), ("pretraining", "z/1", "zoe", "sad"))
    inherited = warm_start.pretraining_recordings(config.protocol, starts, own)
    assert list(inherited["recording"]) == ["a/9", "z/1"]
    assert set(inherited["split"]) == {"pretraining"}
    for split, recording, speaker in (("dev", "c/1", "cid"), ("train", "c/2", "cid"), ("pretraining", "c/2", "cid")):
        seen((split, recording, speaker, "sad"))
        with pytest.raises(EmotionError, match="of the test split"):
            warm_start.pretraining_recordings(config.protocol, starts, own)
    seen(("train", "c/2", "cid", "sad"))
    assert len(warm_start.pretraining_recordings(typed_config(compose("protocol=random")).protocol, starts, own)) == 1
