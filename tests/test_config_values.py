"""Tests of the validation of configuration values and of the quoting of paths on the command line."""

import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from conftest import ROOT
from emotion.config.compose import DIRECTORY, quoted
from emotion.config.fields import describe
from emotion.config.target import Target
from emotion.config.validate import check_value, validate
from emotion.errors import EmotionError
from emotion.hydra_cli.overrides import check_overrides, quote_paths
from emotion.pipelines.train import train

INVALID = {
    "data.batch_size=1": "an integer of at least 2",
    "data.batch_size=0": "an integer of at least 2",
    "data.batch_size=2.5": "an integer",
    "data.batch_size=many": "an integer",
    "seed=-1": "an integer from 0 to 4,294,967,295",
    "seed=null": "an integer from 0",
    "seed=4294967296": "an integer from 0",
    "seed=true": "an integer from 0",
    "optimizer.lr=abc": "a number greater than 0",
    "optimizer.lr=0": "a number greater than 0",
    "optimizer.lr=-0.1": "a number greater than 0",
    "optimizer.lr=nan": "a number greater than 0",
    "optimizer.lr=inf": "a number greater than 0",
    "optimizer.weight_decay=-1": "a number at least 0",
    "data.sample_rate=0": "an integer from 1,000 to 192,000",
    "data.sample_rate=1e6": "an integer from 1,000 to 192,000",
    "data.on_error=ignore": "raise, skip or allow_missing_modality is allowed",
    "data.channel=sing": "speech, song or both is allowed",
    "features.trim_db=0": "a number greater than 0, or null",
    "features.trim_db=-3": "a number greater than 0, or null",
    "features.duration_s=0": "a number greater than 0 and at most 3600, or null",
    "features.hop_length=0": "an integer from 1",
    "features.normalize=spaeker": "did you mean speaker?",
    "features.sets.mfcc.n_mfcc=0": "an integer from 1 to 512",
    "features.sets.mfcc.n_mfcc=200": "at most n_mels, which is 128, is allowed",
    "features.sets.mfcc.f_min=8000": "less than half of data.sample_rate=16000",
    "protocol.fold=x": "an integer of at least 0",
    "protocol.fold=-1": "an integer of at least 0",
    "model.backbone.dropout=2": "a number at least 0 and less than 1",
    "model.backbone.dropout=1": "less than 1",
    "model.head.hidden=128": "a list of values, each an integer of at least 1",
    "model.backbone.channels=[0]": "each an integer of at least 1",
    "training.monitor=val/loss": "dev/macro_f1, dev/loss or dev/ccc is allowed; did you mean dev/loss?",
    "training.patience=0": "an integer of at least 1, or null",
    "training.label_smoothing=1": "less than 1",
    "training.ema_decay=1": "greater than 0 and less than 1, or null",
    "training.class_weights=maybe": "true or false",
    "trainer.max_epochs=0": "an integer of at least 1",
    "trainer.max_epochs=-1": "an integer of at least 1",
    "trainer.max_epochs=1.5": "an integer of at least 1",
    "trainer.precision=fp16": "32-true, bf16-mixed, 16-mixed, 64-true, 32 or 64",
    "trainer.accelerator=mps": "cpu, gpu, cuda or auto is allowed",
    "trainer.devices=0": "an integer of at least 1",
    "trainer.devices=-1": "on a CPU",
    "trainer.strategy=ddp_spawn": "auto, ddp",
    "trainer.gradient_clip_val=-1": "a number at least 0, or null",
    "trainer.limit_train_batches=0": "an integer of at least 1, or a number greater than 0 and at most 1",
    "+trainer.check_val_every_n_epoch=2": "1 (every epoch is evaluated on dev)",
    "+trainer.limit_val_batches=0": "an integer of at least 1",
    "+trainer.logger=false": "train.py sets it",
    "+trainer.enable_checkpointing=false": "true (the best epoch is kept)",
    "+trainer.fast_dev_run=true": "use debug=fast",
    "+trainer.max_steps=3": "use trainer.max_epochs",
    "augment.spec_augment.time_masks=-1": "an integer of at least 0",
    "scheduler.pct_start=0": "greater than 0 and less than 1",
    "test=maybe": "true or false",
}


@pytest.mark.parametrize("argument", INVALID)
def test_invalid_values_are_refused_before_training(argument, compose, tmp_path):
    key, value = argument.lstrip("+").split("=")
    with pytest.raises(EmotionError) as error:
        validate(compose(argument))
    text = str(error.value)
    assert text.startswith(f"{key}={value.replace('1e6', '1000000.0')}: ") and INVALID[argument] in text
    with pytest.raises(EmotionError):
        train(compose(argument), tmp_path / "run", [argument])
    assert not (tmp_path / "run").exists()


def test_invalid_values_of_sweeps_are_refused_before_the_first_job():
    for argument in ("seed=0,-1", "optimizer.lr=choice(0.1,abc)", "data.batch_size=range(0,8)", "seed=3"):
        if argument == "seed=3":
            check_overrides([argument])
            continue
        with pytest.raises(EmotionError, match="is allowed"):
            check_overrides([argument])
    check_overrides(["optimizer.lr=tag(log, interval(1e-4, 1e-2))", "model.backbone.channels=[8,8],[16,16]"])


def test_numeric_parameters_of_every_class_have_limits():
    """The classes are those of this package that `_target_` names."""
    for path in DIRECTORY.rglob("*.yaml"):
        for node in targets(OmegaConf.to_container(OmegaConf.load(path))):
            if node["_target_"].startswith("emotion."):
                known = Target(node["_target_"]).annotations()
                numbers = {name for name, value in node.items() if type(value) in (int, float) and name in known}
                unlimited = {name for name in numbers if describe(known[name]) in ("a number", "an integer")}
                assert unlimited - {"size"} == set(), path


def targets(node):
    """Yield all nodes of a configuration that have a `_target_`."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from targets(value)


def test_unknown_keys_of_the_trainer_are_refused(compose, tmp_path):
    with pytest.raises(EmotionError, match=r"unknown key trainer\.max_epoch: did you mean max_epochs"):
        train(compose("+trainer.max_epoch=3"), tmp_path / "run", [])


def test_fewer_than_one_batch_is_refused(compose, tmp_path, demo_root):
    with pytest.raises(EmotionError, match=r"trainer\.limit_train_batches=0\.1: at least 0\.125, or a whole number"):
        train(compose("trainer.limit_train_batches=0.1", "trainer.max_epochs=1"), tmp_path / "run", [])


@pytest.mark.parametrize("value", ["16-mixed", "bf16-mixed", 32, "64-true"])
def test_valid_values_are_accepted(value):
    check_value("trainer.precision", value)
    check_value("model.branches.face.backbone.dropout", 0.0)
    check_value("features.trim_db", None)
    check_value("name", value)


# Paths.

NAMES = [
    "größe",
    "a&b",
    "a [1]",
    "a b",
    "x=y",
    "a,b",
    "(1)",
    "{a}",
    "a$b",
    "it's",
    'the "best"',
    "50%",
    "#1",
    "a;b",
    "日本",
]


@pytest.mark.parametrize("name", [*NAMES, "plain-name_1.wav", "back\\slash", "two  spaces", "a: b", "null.", "!x"])
@pytest.mark.parametrize(
    "key", ["data.root", "run", "resume", "action_units.table", "+model.branches.audio.init_from", "data.corpus.table"]
)
def test_paths_reach_hydra_unchanged(name, key):
    for path in (f"/data/{name}", name):
        (argument,) = quote_paths([f"{key}={path}"])
        (override,) = OverridesParser.create().parse_overrides([argument])
        assert str(override.value()) == path
        assert quote_paths([argument]) == [argument]  # quoted values are unchanged


def test_home_directory_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "größe"))
    home = quoted(f"{tmp_path}/größe/x")
    for argument in ("data.root=~/x", "data.root='~/x'", 'data.root="~/x"'):
        assert quote_paths([argument]) == [f"data.root={home}"]
    assert quote_paths(["name=~/x", "~trainer.seed", "data.root=~no_such_user/x", "-m", "data.root="]) == [
        "name=~/x",
        "~trainer.seed",
        "data.root='~no_such_user/x'",
        "-m",
        "data.root=",
    ]
    (tmp_path / "größe" / "x").mkdir(parents=True)
    from emotion.corpora.folder import Folder
    from emotion.inference import recordings

    assert Folder().locate("~/x") == tmp_path / "größe" / "x"
    assert recordings.find_media(["~/x/none.wav"]).missing
    (tmp_path / "größe" / "x" / "a.wav").touch()
    assert recordings.find_media(["~/x/a.wav"]).files == (tmp_path / "größe" / "x" / "a.wav",)


def test_sweeps_over_paths_are_not_quoted(tmp_path):
    assert quote_paths(["model.branches.audio.init_from=a,b"], multirun=True) == ["model.branches.audio.init_from=a,b"]
    (tmp_path / "a,b").mkdir()
    assert quote_paths([f"data.root={tmp_path}/a,b"], multirun=True) == [f"data.root='{tmp_path}/a,b'"]
    assert quote_paths(["data.root=${oc.env:HOME}", "resume=null"]) == ["data.root=${oc.env:HOME}", "resume=null"]


def test_patterns_of_speakers_are_quoted():
    pattern = r"(anna|bo)_(\d{2,3})"
    (argument,) = quote_paths([f"data.corpus.speaker={pattern}"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert override.value() == pattern


@pytest.mark.slow
def test_unparsable_overrides_are_reported_with_their_quoting():
    with pytest.raises(EmotionError) as error:
        check_overrides(["name=größe (1)"])
    assert str(error.value).endswith("""as in 'name='"'"'größe (1)'"'"''""")
    assert subprocess.run(
        ["sh", "-c", f"printf %s {str(error.value).rpartition('as in ')[2]}"], capture_output=True
    ).stdout


@pytest.mark.slow
def test_commands_are_refused_before_the_run_directory_is_created(tmp_path):
    for argument in ("data.batch_size=1", "trainer=gpu", "features.sets.mfcc.n_mfcc=200"):
        command = [sys.executable, str(ROOT / "train.py"), argument, "trainer.max_epochs=1"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        if argument == "trainer=gpu" and result.returncode == 0:
            continue  # a GPU is available
        assert result.returncode == 1 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
