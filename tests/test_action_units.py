"""Tests of tables of facial action units."""

import json

import numpy as np
import pandas as pd
import pytest

from conftest import build_datamodule
from emotion.corpora.ravdess import Ravdess
from emotion.errors import EmotionError
from emotion.pipelines.evaluate import evaluate
from emotion.prepare.action_units import INTENSITIES, PRESENCES, read_action_units, unit_names

TABLE = "action_units.table=${data.root}/ravdess_action_units_mean.csv"
COLUMN_KINDS = ("intensity", "presence")


def rows(names, **columns):
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.random((len(names), 35)), columns=INTENSITIES + PRESENCES)
    return values.assign(name=names, **columns)


def read(path, column_kinds=COLUMN_KINDS, pooling="mean"):
    return read_action_units(path, column_kinds, pooling, Ravdess().key_of)


@pytest.mark.parametrize("separator", [",", ";"])
def test_frames_of_a_table_are_averaged_or_kept(tmp_path, separator):
    table = rows(["01-01-03-01-01-01-05.mp4"] * 3 + ["02-01-04-01-01-01-05"] * 2)
    table.to_csv(tmp_path / "units.csv", index=False, sep=separator)
    means, frames = read(tmp_path / "units.csv"), read(tmp_path / "units.csv", pooling="none")
    assert list(means) == list(frames) == ["ravdess/01-03-01-01-01-05", "ravdess/01-04-01-01-01-05"]
    assert [len(value) for value in frames.values()] == [3, 2]
    expected = table[list(INTENSITIES + PRESENCES)][:3].to_numpy()
    np.testing.assert_allclose(frames["ravdess/01-03-01-01-01-05"], expected, rtol=1e-6)
    np.testing.assert_allclose(means["ravdess/01-03-01-01-01-05"], expected.mean(axis=0, keepdims=True), rtol=1e-6)


def test_failed_frames_of_openface_files_are_dropped(tmp_path):
    # OpenFace writes a space after each comma.
    table = rows(["ignored"] * 4, success=[1, 0, 1, 1]).drop(columns="name").add_prefix(" ")
    for actor in (5, 6):
        table.to_csv(tmp_path / f"01-01-03-01-01-01-{actor:02}.csv", index=False)
    frames = read(tmp_path, pooling="none")
    assert [(key, len(value)) for key, value in frames.items()] == [
        ("ravdess/01-03-01-01-01-05", 3),
        ("ravdess/01-03-01-01-01-06", 3),
    ]


def test_intensity_and_presence_are_selectable(tmp_path):
    rows(["01-01-03-01-01-01-05"]).to_csv(tmp_path / "units.csv", index=False)
    (units,) = read(tmp_path / "units.csv", ["presence"]).values()
    assert units.shape == (1, 18)
    assert unit_names(["intensity"]) == INTENSITIES
    with pytest.raises(EmotionError, match="did you mean presence"):
        unit_names(["presense"])
    with pytest.raises(EmotionError, match="choose from"):
        unit_names([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="AU12_r"), "AU12_r"),
        (lambda table: table.drop(columns="name"), "name"),
        (lambda table: table.assign(AU12_r=np.nan), "not finite numbers"),
    ],
)
def test_incomplete_tables_are_refused(tmp_path, change, message):
    change(rows(["01-01-03-01-01-01-05"])).to_csv(tmp_path / "units.csv", index=False)
    with pytest.raises(EmotionError, match=message):
        read(tmp_path / "units.csv")


def test_invalid_pooling_and_missing_files_are_refused(tmp_path):
    with pytest.raises(EmotionError, match="pooling"):
        read(tmp_path, pooling="median")
    with pytest.raises(EmotionError, match="without a CSV"):
        read(tmp_path)


@pytest.mark.slow
def test_every_speech_clip_of_ravdess_has_action_units(real_data, compose):
    config = compose("data=ravdess", f"data.root={real_data}", "model=action_units", TABLE)
    datamodule = build_datamodule(config)
    datamodule.setup()
    assert len(datamodule.table) == 1440
    batch = next(datamodule.batches("train"))
    assert batch["action_units"].shape == (32, 35)
    assert "waveform" not in batch
    source = pd.read_csv(real_data / "ravdess_action_units_mean.csv", sep=";").set_index("name")
    names = ["01-" + key.split("/")[1] for key in batch["recording"]]
    np.testing.assert_allclose(batch["action_units"], source.loc[names, list(INTENSITIES + PRESENCES)], rtol=1e-5)


@pytest.mark.slow
def test_missing_tables_are_reported(compose, real_data):
    def setup(*overrides):
        build_datamodule(compose("data=ravdess", f"data.root={real_data}", "model=action_units", *overrides)).setup()

    with pytest.raises(EmotionError, match=r"action_units\.table=FILE"):
        setup()
    with pytest.raises(EmotionError, match="does not exist"):
        setup("action_units.table=nowhere.csv")


@pytest.mark.slow
@pytest.mark.parametrize(("on_error", "count"), [("raise", 700), ("skip", 700), ("allow_missing_modality", 1440)])
def test_on_error_handles_recordings_without_a_modality(real_data, compose, tmp_path, on_error, count):
    source = pd.read_csv(real_data / "ravdess_action_units_mean.csv", sep=";")
    source[:700].to_csv(tmp_path / "half.csv", index=False)
    overrides = [
        "data=ravdess",
        f"data.root={real_data}",
        "model=late_fusion",
        "model.branches.face=action_units",
    ]
    config = compose(*overrides, f"action_units.table={tmp_path}/half.csv", f"data.on_error={on_error}")
    datamodule = build_datamodule(config)
    datamodule.setup()
    assert len(datamodule.table) == count
    batch = next(datamodule.batches("train"))
    assert (batch["waveform_length"] > 0).all()
    assert batch["action_units"].shape == (32, 35)
    assert bool((batch["action_unit_frames"] > 0).all()) is (on_error != "allow_missing_modality")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["action_units", "late_fusion"])
def test_models_are_trained_and_evaluated_without_saving_local_paths(real_data, train_in_process, compose, model):
    visual = ["model.branches.face=action_units"] if model == "late_fusion" else []
    run_dir = train_in_process(
        "data=ravdess",
        f"data.root={real_data}",
        "protocol=luna5",
        f"model={model}",
        *visual,
        f"action_units.table={real_data}/ravdess_action_units_mean.csv",
        "trainer.max_epochs=2",
        "trainer.limit_train_batches=8",
    )
    for name in ("config.yaml", "overrides.yaml"):
        assert str(real_data) not in (run_dir / name).read_text()
    trained = json.loads((run_dir / "metrics.json").read_text())
    assert trained["test/uar"] > 0.125 / 2
    overrides = [f"run={run_dir}"]
    evaluated = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert evaluated["test/uar"] == trained["test/uar"]
