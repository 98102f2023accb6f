"""Tests of a third-party package that adds a corpus, features, an augmentation, a model, a fusion, a metric and more.

Each extension is one Python file and one YAML file of docs/extending.md, and every command uses them.
"""

import functools
import importlib
import json
import re
import sys

import pandas as pd
import pytest
import torch

from conftest import ROOT
from emotion.config.target import EXTENSIONS_VARIABLE, Target
from emotion.errors import EmotionError
from emotion.labels import EMOTIONS
from emotion.pipelines.train import train

DOCUMENTED = (ROOT / "docs" / "extending.md").read_text()
CHOICES = ("data=my_corpus", "features=my_feature", "augment=my_augmentation", "model=late_fusion")
CHOICES += ("model.branches.audio=my_model", "~model.branches.face", "model/fusion=my_fusion", "metrics=my_metric")
CHOICES += ("logger=my_logger", "trainer.max_epochs=1", "run_dir=run")
PARTS = ("corpus", "feature", "augmentation", "model", "fusion", "metric", "logger", "export")


def documented(suffix):
    """Return the files of docs/extending.md by name; the first line of each block is the name."""
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", DOCUMENTED, re.DOTALL)
    return {name: text for name, text in blocks if name.endswith(suffix)}


CALLED = {
    "corpus.MyCorpus": "read",
    "feature.MyFeature": "forward",
    "augmentation.MyAugmentation": "forward",
    "model.MyModel": "encode_frames",
    "fusion.MyFusion": "join",
    "metric.MyMetric": "__call__",
    "logger.MyLogger": "log_metrics",
    "export.MyFormat": "export",
}
"""A method of each class, whose calls are recorded."""


@pytest.fixture
def extension(tmp_path, monkeypatch, demo_root):
    """Write the package, its YAML files and a corpus of six speakers; yield the classes whose methods were called."""
    for name, text in (documented(".py") | documented(".yaml")).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    corpus = tmp_path / "data" / "my_corpus"
    corpus.mkdir(parents=True)
    for speaker in range(1, 7):
        for number, emotion in enumerate(EMOTIONS, 1):
            clip = demo_root / f"Actor_{speaker:02}" / f"03-01-{number:02}-01-01-01-{speaker:02}.wav"
            (corpus / f"{emotion}_{speaker}.wav").symlink_to(clip)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EMOTION_DATA", str(tmp_path / "data"))
    monkeypatch.setenv(EXTENSIONS_VARIABLE, "other_package, my_package")
    called = set()
    for name, method in CALLED.items():
        cls = getattr(importlib.import_module(f"my_package.{name.split('.')[0]}"), name.split(".")[1])
        monkeypatch.setattr(cls, method, record_calls(getattr(cls, method), name, called))
    yield called
    for module in [module for module in sys.modules if module.startswith("my_package")]:
        del sys.modules[module]


def record_calls(method, name, called):
    @functools.wraps(method)
    def call(*arguments, **options):
        called.add(name)
        return method(*arguments, **options)

    return call


def output_of(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_every_command_uses_the_extensions(extension, command, tmp_path, monkeypatch):
    conf, used = ("--config-dir", tmp_path / "conf"), extension
    output_of(command("train", *conf, *CHOICES))
    assert used == set(CALLED) - {"export.MyFormat"}
    run_dir, metrics = tmp_path / "run", json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["data"] == "my_corpus"
    table = pd.read_csv(run_dir / "predictions.csv").query("split == 'test'")
    true = table.apply(lambda row: row[row["emotion"]], axis=1)
    assert metrics["test/my_metric"] == pytest.approx(true.mean(), abs=1e-5)
    assert "dev/uar" in (run_dir / "my_log.txt").read_text()
    weights = torch.load(run_dir / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert weights["classifier.encoder.encoders.audio.backbone.layer.weight"].shape == (16, 5, 1)

    used.clear()
    output_of(command("evaluate", "run=run"))
    assert used == {"corpus.MyCorpus", "model.MyModel", "fusion.MyFusion", "metric.MyMetric"}  # features are cached
    folder = run_dir / "evaluations" / "my_corpus-speakers5-0-test"
    assert json.loads((folder / "metrics.json").read_text())["test/my_metric"] == metrics["test/my_metric"]
    used.clear()
    row = table.iloc[0]
    clip = tmp_path / "data" / "my_corpus" / f"{row['recording'].split('/')[1]}.wav"
    (prediction,) = json.loads(output_of(command("predict", clip, "--run", "run", "--format", "json")))
    assert prediction["probabilities"]["happy"] == pytest.approx(row["happy"], abs=1e-4)
    assert used == {"feature.MyFeature", "model.MyModel", "fusion.MyFusion"}

    output_of(command("export", "run", "--format", "my_format", *conf))
    assert "export.MyFormat" in used and (tmp_path / "weights.pt").exists()
    assert "my_format" in command("export", "run", "--format", "my_forma", *conf).stderr
    assert "known: bundle, hub, onnx, onnx_int8, pt2" in command("export", "run", "--format", "my_format").stderr
    assert "did you mean my_corpus?" in command("train", *conf, "data=my_corpu").stderr
    assert "data=my_corpus" in command("train", "data=my_corpus").stderr

    monkeypatch.setenv(EXTENSIONS_VARIABLE, "other_package")
    for arguments in (["predict", clip, "--run", "run"], ["evaluate", "run=run"], ["train", *conf, "data=my_corpus"]):
        result = command(*arguments)
        assert result.returncode == 1 and result.stderr.count("\n") == 1
        assert "is refused" in result.stderr and f"set {EXTENSIONS_VARIABLE}=my_package" in result.stderr


def test_hydra_search_path_finds_the_yaml_files(extension, command, tmp_path):
    result = command("train", f"hydra.searchpath=[file://{tmp_path}/conf]", "data=my_corpus", "data.batch_size=1")
    assert "data.batch_size=1: an integer of at least 2 is allowed" in result.stderr


def test_packages_are_trusted_by_environment_variable_only(tmp_path, monkeypatch):
    (tmp_path / "my_trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for trusted in ("", "my", "my_trap.deeper", "emotion", ",", "*"):
        monkeypatch.setenv(EXTENSIONS_VARIABLE, trusted)
        with pytest.raises(EmotionError, match="is refused"):
            Target("my_trap.Thing").resolve()
    monkeypatch.setenv(EXTENSIONS_VARIABLE, "my_trap")
    with pytest.raises(SystemExit, match="imported"):
        Target("my_trap.Thing").resolve()


def test_names_of_built_in_metrics_are_refused(compose, tmp_path, demo_root):
    with pytest.raises(EmotionError, match=r"metrics\.uar: every run has a metric of this name"):
        train(compose("+metrics.uar._target_=emotion.metrics.extra.TopKAccuracy"), tmp_path / "run", [])


@pytest.mark.slow
def test_several_loggers_and_metrics_are_used(command, tmp_path, demo_root):
    several = ("metrics=[top_2_accuracy]", "logger=[csv,tensorboard]", "trainer.max_epochs=2")
    output_of(command("train", "run_dir=run", "features=rms", "model=audio_lstm", *several))
    curves = pd.read_csv(tmp_path / "run" / "csv" / "metrics.csv")
    assert curves["dev/uar"].notna().sum() == 2
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < metrics["test/brier_score"] < 2 and metrics["test/top_2_accuracy"] > metrics["test/war"]


def test_every_extension_is_one_python_file_and_one_yaml_file():
    assert sorted(documented(".py")) == sorted(f"my_package/{part}.py" for part in PARTS)
    assert len(documented(".yaml")) == len(PARTS)
