"""Smoke tests: each command and each kind of model once, on small data; slow tests cover the details."""

import importlib.util
import inspect
import json

import pytest
import soundfile
from recordings import voice

from conftest import ROOT

SHORT = ("trainer.max_epochs=1", "data.batch_size=64")
KINDS = {
    "estimator": ("model=logistic_regression",),
    "estimator on vectors of a library": ("model=svm", "features=egemaps"),
    "autoencoder": ("model=autoencoder", "features=log_mel", "labels=happy_sad", *SHORT),
    "lstm": ("model=audio_lstm", "augment=[speed,vtlp,spec_augment]", *SHORT),
    "mixup and a moving average": ("augment=[mixup,noise,gain]", "training.ema_decay=0.9", *SHORT),
}
SLOW = ("estimator on vectors of a library", "autoencoder")
FACES = ("faces.frames=2", "faces.size=24")
FACE_KINDS = {
    "face": (
        "model=face_cnn",
        "augment=[random_horizontal_flip,random_affine,color_jitter,random_erasing]",
        "model.backbone.widths=[4]",
    ),
    "fusion": ("model=late_fusion", "augment=none"),
}


@pytest.fixture
def clip(tmp_path):
    soundfile.write(tmp_path / "clip.wav", voice(16_000), 16_000)
    return tmp_path / "clip.wav"


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in KINDS]
)
def test_each_kind_of_model_trains_evaluates_and_predicts(command, kind, clip, cache):
    done = command("train", *KINDS[kind], "run_dir=run")
    assert done.returncode == 0, done.stderr
    run_dir = clip.parent / "run"
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert 0 <= metrics["test/uar"] <= 1
    done = command("evaluate", "run=run", "split=dev")
    assert done.returncode == 0, done.stderr
    done = command("predict", clip, "--run", run_dir, "--format", "json")
    assert done.returncode == 0, done.stderr
    (prediction,) = json.loads(done.stdout)
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["face", "fusion"])
def test_models_of_faces_are_trained(command, video_overrides, kind, tmp_path):
    small = (f"model.{part}backbone.widths=[4]" for part in (["branches.face."] if kind == "fusion" else [""]))
    done = command("train", *video_overrides, *FACE_KINDS[kind], *FACES, *small, *SHORT, "run_dir=run")
    assert done.returncode == 0, done.stderr
    assert "test/uar" in json.loads((tmp_path / "run" / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("prepare", "data=demo"), "prepared 384 recordings"),
        (("splits",), "luna5"),
        (("card",), "RAVDESS"),
        (("predict", "clip.wav"), "clip.wav"),
        (("predict", "clip.wav", "--plot", "plot.png"), "clip.wav"),
        (("live", "clip.wav", "--window", "1", "--hop", "1"), "0:01"),
        (("report", ROOT / "results" / "mfcc_cnn_luna5"), "mfcc_cnn_luna5"),
        (("export", "RUN", "--format", "bundle", "--output", "bundle"), "wrote bundle"),
        (("figures", "clip.wav", "--output", "figures"), "wrote figures/clip.png"),
        (("train", "--cfg", "job"), "max_epochs"),
    ],
)
def test_each_command_runs(command, trained, clip, arguments, printed):
    done = command(*(str(trained) if argument == "RUN" else argument for argument in arguments))
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


def test_sweeps_run_and_list_their_trials(command):
    done = command("train", "-m", "seed=0,1", "debug=fast", "run_dir=sweep")
    assert done.returncode == 0, done.stderr
    assert "2 jobs: 2 finished" in done.stdout
    assert "2 finished" in command("trials", "sweep").stdout


BENCHMARKS = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if path.stem != "first_step"]  # it trains


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks_import_existing_names(path, monkeypatch):
    monkeypatch.syspath_prepend(path.parent)
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path))
    module.__spec__.loader.exec_module(module)
    assert any(inspect.isfunction(own) and own.__module__ == module.__name__ for own in vars(module).values())
