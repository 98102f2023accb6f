"""Tests of training on audio and faces, from a folder of videos to an evaluated run."""

import json

import numpy as np
import pytest
import torch

from conftest import build_datamodule
from emotion.pipelines.evaluate import evaluate
from emotion.prepare.faces import BOX_COLUMNS
from emotion.runs import load_weights


@pytest.mark.slow
def test_faces_and_audio_cover_the_same_interval(compose, video_overrides):
    config = compose(*video_overrides, "model=face_cnn", "faces.frames=4", "faces.max_duration_s=0.8")
    datamodule = build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    assert len(datamodule.table) == 40
    batch = next(datamodule.batches("train"))
    assert "waveform" not in batch
    assert batch["faces"].shape[1:] == (4, 3, 112, 112)
    assert batch["face_mask"].float().mean() > 0.9
    faces = datamodule.sources["faces"]
    boxes = np.memmap(faces.values.filename.with_name("boxes.float32"), np.float32, "r")
    times = boxes.reshape(-1, len(BOX_COLUMNS))[:, 0]
    for offset, length in zip(faces.offset, faces.length, strict=True):
        assert np.ptp(times[offset : offset + length]) < 0.8


@pytest.mark.slow
def test_recordings_without_a_face_are_counted(compose, video_overrides, caplog):
    for handling, count, use in (("skip", 40, "skipped"), ("allow_missing_modality", 41, "their other mod")):
        config = compose(
            *video_overrides, "model=late_fusion", "model.branches.face=face_cnn", f"data.on_error={handling}"
        )
        datamodule = build_datamodule(config)
        with caplog.at_level("WARNING"):
            datamodule.setup()
        assert f"1 recording without face: {use}" in caplog.text
        assert len(datamodule.table) == count
        assert all(len(batch["label"]) for batch in datamodule.all_batches())


@pytest.mark.slow
@pytest.mark.parametrize("model", [["model=face_cnn"], ["model=late_fusion", "model.branches.face=face_cnn"]])
def test_models_of_faces_are_trained_and_evaluated(train_in_process, compose, video_overrides, model):
    augment = "random_horizontal_flip,random_affine,color_jitter,random_erasing,spec_augment"
    changes = ["trainer.max_epochs=2", f"augment=[{augment}]"]
    run_dir = train_in_process(*video_overrides, *model, *changes)
    trained = json.loads((run_dir / "metrics.json").read_text())
    overrides = [f"run={run_dir}"]
    evaluated = evaluate(compose(*overrides, config_name="evaluate"), overrides)
    assert evaluated["test/uar"] == trained["test/uar"]
    assert evaluated["test/loss"] == pytest.approx(trained["test/loss"])


@pytest.mark.slow
def test_cached_faces_do_not_change_the_weights(train_in_process, video_overrides, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_CACHE", str(tmp_path / "cache"))
    changes = ("model=face_cnn", "data.on_error=skip", "trainer.max_epochs=1", "faces.frames=2", "faces.size=24")
    first, second = (
        load_weights(train_in_process(*video_overrides, *changes, name=name)) for name in ("first", "second")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
