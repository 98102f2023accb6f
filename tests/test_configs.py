"""Tests of all YAML files: each composes, and its objects can be built."""

import io
import json
import re
import tarfile
from contextlib import nullcontext
from itertools import product

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from conftest import ROOT, TINY_ENCODER, TINY_VIDEO, build_classifier, build_datamodule, typed_config
from emotion.config.compose import DIRECTORY
from emotion.config.reference import reference
from emotion.config.target import Target, instantiate
from emotion.corpora import Corpus
from emotion.corpora.fer2013 import VOTED
from emotion.errors import EmotionError
from emotion.features.base import FeatureSet
from emotion.labels import classes
from emotion.models.estimator import EstimatorHead

# File names of the corpora that are scanned.
NAMES = {
    "ased": [f"n1-01-01-01-{speaker:02}" for speaker in range(1, 6)],
    "crema_d": [f"{speaker}_DFA_ANG_XX" for speaker in range(1001, 1006)],
    "emovo": [f"dis-{speaker}-b1" for speaker in ("f1", "f2", "f3", "m1", "m2")],
    "esd": [f"Angry/{speaker:04}_000351" for speaker in range(1, 6)],
    "ravdess": [f"03-01-05-01-01-01-{actor:02}" for actor in range(1, 6)],
    "tess": [f"{speaker}_{word}_angry" for speaker in ("OAF", "YAF") for word in ("back", "bar", "base")],
    "savee": [f"{speaker}/a01" for speaker in ("DC", "JE", "JK", "KL")],
}
AUDFORMAT = {
    "db.yaml": "name: own\ntables:\n  emotion:\n    type: filewise\n    columns:\n      emotion: {}\n",
    "db.emotion.csv": "file,emotion\n" + "".join(f"{number}.wav,happy\n" for number in range(10)),
}
SLOW = ("model.branches.audio=logistic_functionals",)  # its functionals are computed
VECTORS = ("functionals", "means", "splines", "tucker", "hog3d_tucker", "action_unit_means")


def override_for(path):
    """Return the override that selects a YAML file of a group."""
    group = path.parent.relative_to(DIRECTORY).as_posix()
    if group == "model/branch":
        return f"model.{'vector' if path.stem in VECTORS else 'branches.audio'}={path.stem}"
    group = group.replace("model/estimator", "model/estimator@model")
    return re.sub("^experiment/(.+)=", r"experiment=\1/", f"{group}={path.stem}")


COMPOSED = [path for path in DIRECTORY.rglob("*/*.yaml") if not {"hydra", "export"} & set(path.parts)]
CHOICES = sorted(map(override_for, COMPOSED))

# Protocols of other corpora than RAVDESS, and feature sets too small for the default CNN.
CORPUS_OF = {
    "protocol=oaf_yaf": "tess",
    "protocol=yaf_oaf": "tess",
    "protocol=cross": "ravdess_tess",
    "protocol=speakers5": "folder",
    "protocol=loso": "folder",
    "protocol=all_test": "folder",
    "protocol=emobox": "emobox",
    "protocol=sessions": "iemocap",
    "protocol=pooled": "several",
    "protocol=leave_one_corpus_out": "several",
    "protocol=cross_corpus": "several",
    "protocol=official": "fer2013",
    "task=regression": "iemocap",
    "protocol=unique_test": "fer2013",
}
REQUIRED_OVERRIDES = {f"features={path.stem}": ["model=audio_lstm"] for path in (DIRECTORY / "features").glob("*.yaml")}
REQUIRED_OVERRIDES["features=speech_encoder"] = ["model=speech_encoder", f"model.encoder={TINY_ENCODER}"]
REQUIRED_OVERRIDES["features=deltas"] = ["features=[mfcc,deltas]"]
REQUIRED_OVERRIDES |= {
    choice: ["model=late_fusion"] for choice in CHOICES if choice.startswith(("model/", "model.branches"))
}
REQUIRED_OVERRIDES |= {
    choice: ["model=svm"] for choice in CHOICES if choice.startswith(("model.vector=", "model/estimator"))
}
for place in ("model", "model.branches.audio"):
    own = [f"{place}.backbone.encoder={TINY_VIDEO}", f"{place}.backbone.weights=none", f"{place}.images.size=32"]
    choice = f"{place}=face_video"
    REQUIRED_OVERRIDES[choice] = [*REQUIRED_OVERRIDES.get(choice, []), *own]
REQUIRED_OVERRIDES["model=speech_encoder"] = [f"model.encoder={TINY_ENCODER}"]
REQUIRED_OVERRIDES["model.vector=tucker"] = ["model=svm", "features=spline_variants"]


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """Return the folder of `EMOTION_DATA`, with enough files of each corpus to generate splits."""
    for emotion, person in product(("happy", "sad"), range(5)):
        path = tmp_path / "own" / emotion / f"person{person}.wav"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    for name, content in AUDFORMAT.items():
        path = tmp_path / "database" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    for split, name in (("train", "Training"), ("test", "PublicTest"), ("test", "PrivateTest")):
        path = tmp_path / "fer2013" / split / "happy" / f"{name}_1.jpg"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    names = [*VOTED, "unknown", "NF"]
    votes = ",".join("10" if name == "happiness" else "0" for name in names)
    files = [path.relative_to(tmp_path / "fer2013").as_posix() for path in (tmp_path / "fer2013").rglob("*.jpg")]
    table = "".join(f"{file},{votes}\n" for file in files)
    (tmp_path / "fer2013" / "fer2013_ferplus.csv").write_text(f"file,{','.join(names)}\n{table}")
    for corpus, names in NAMES.items():
        for name in names:
            path = tmp_path / corpus / f"{name}.wav"
            path.parent.mkdir(exist_ok=True, parents=True)
            path.touch()
    entries = [{"key": f"k{name}", "wav": f"downloads/ased/{name}.wav", "emo": "n1"} for name in NAMES["ased"]]
    (tmp_path / "metadata" / "fold_1").mkdir(parents=True)
    (tmp_path / "metadata" / "label_map.json").write_text('{"n1": "Neutral"}')
    for part, chosen in (
        ("ased", entries),
        ("fold_1/ased_train_fold_1", entries[1:]),
        ("fold_1/ased_test_fold_1", entries[:1]),
    ):
        (tmp_path / "metadata" / f"{part}.jsonl").write_text("\n".join(map(json.dumps, chosen)))
    for session in range(1, 4):
        turn = f"Ses0{session}F_impro01_F000"
        labels = tmp_path / "iemocap" / f"Session{session}" / "dialog" / "EmoEvaluation" / f"Ses0{session}F_impro01.txt"
        for path in (labels, tmp_path / "iemocap" / f"{turn}.wav"):
            path.parent.mkdir(exist_ok=True, parents=True)
            path.touch()
        labels.write_text(f"[0.0000 - 1.0000]\t{turn}\tneu\t[2.5, 2.5, 2.5]\n")
    for split, folder in (("train", "train_splits"), ("dev", "dev"), ("test", "test")):
        (tmp_path / "meld" / folder).mkdir(parents=True)
        (tmp_path / "meld" / folder / "dia0_utt0.mp4").touch()
        table = "Speaker,Emotion,Dialogue_ID,Utterance_ID\nJoey,joy,0,0\n"
        (tmp_path / "meld" / f"{split}_sent_emo.csv").write_text(table)
    (tmp_path / "03a01Fa.wav").touch()
    for speaker in ("08", "09", "10", "11"):
        (tmp_path / f"{speaker}a01Fa.wav").touch()
    monkeypatch.setenv("EMOTION_DATA", str(tmp_path))
    return tmp_path


def _shard(folder):
    """Write a WebDataset shard, and return its folder."""
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards" / "train-0.tar", "w") as shard:
        for number in range(10):
            for suffix, content in ((".wav", b"RIFF"), (".cls", b"happy")):
                member = tarfile.TarInfo(f"{number}{suffix}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    return folder / "shards"


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(choice, marks=[pytest.mark.slow] if choice.startswith("experiment=") or choice in SLOW else [])
        for choice in CHOICES
    ],
)
def test_every_yaml_file_composes_and_builds(compose, data_folder, choice):
    # The happy-sad protocols, among others, split only RAVDESS.
    corpus = [] if choice.startswith(("data=", "experiment=")) else [f"data={CORPUS_OF.get(choice, 'ravdess')}"]
    folder = (
        ["data.corpus.speaker=person.", f"data.root={data_folder}/own"] if "data=folder" in (*corpus, choice) else []
    )
    if choice == "data=audformat":
        folder = [f"data.root={data_folder}/database", "labels=emotions"]
    if choice == "protocol=cross_corpus":
        folder = ["protocol.test_corpora=[ased]", "labels=emotions"]
    if "data=several" in (*corpus, choice):
        folder += ["labels=emotions"]
    if "data=emobox" in (*corpus, choice):
        folder = [f"data.metadata={data_folder}/metadata", f"data.root={data_folder}", "labels=emotions"]
    if choice == "data=huggingface":
        folder = [f"data.path={_shard(data_folder)}", "labels=emotions"]
    config = typed_config(compose(*corpus, choice, *folder, *REQUIRED_OVERRIDES.get(choice, [])))
    large = {"hubert", "wavlm", "wav2vec2", "vggish"} & set(config.features.sets)
    with torch.device("meta") if large else nullcontext():  # their weights are not used
        classifier = build_classifier(config, len(classes(config.labels)))
    if not isinstance(classifier.head, EstimatorHead):
        optimizer = instantiate(config.optimizer.target, Optimizer, params=classifier.parameters())
        instantiate(config.scheduler.target, LRScheduler, optimizer=optimizer, total_steps=10, T_max=10, max_lr=0.01)
    datamodule = build_datamodule(config)
    assert datamodule.classes == (() if config.task.is_regression else classes(config.labels))


def test_each_corpus_sets_its_protocol_unless_overridden(compose):
    assert compose("data=ravdess").protocol.name == "actor6"
    assert compose("data=ravdess", "protocol=luna5").protocol.name == "luna5"
    assert compose("experiment=mfcc_cnn_luna5").protocol.name == "luna5"
    assert compose("experiment=mfcc_cnn_luna5", "protocol=fixed").protocol.name == "fixed"


def test_feature_sets_are_stacked_in_the_given_order(compose):
    assert list(compose("features=[rms,mfcc]").features.sets) == ["rms", "mfcc"]
    assert list(compose("model=audio_lstm").features.sets) == ["mfcc", "chroma", "rms"]
    assert compose("model=audio_lstm").features.n_delta_orders == 1
    assert list(compose("model=audio_lstm", "features=log_mel").features.sets) == ["log_mel"]
    assert compose("features=[rms,mfcc]").features.trim_db == 30.0


@pytest.mark.slow
def test_song_can_be_used_for_training_only(compose, real_data):
    datamodule = build_datamodule(compose("data=ravdess", f"data.root={real_data}", "data.train_channel=both"))
    datamodule.setup()
    channels = datamodule.table.groupby("split")["channel"].unique()
    assert {split: set(names) for split, names in channels.items()} == {
        "train": {"speech", "song"},
        "dev": {"speech"},
        "test": {"speech"},
    }


def test_data_root_defaults_to_the_environment_variable(compose, monkeypatch):
    monkeypatch.setenv("EMOTION_DATA", "elsewhere")
    assert compose("data=ravdess").data.root == "elsewhere"
    monkeypatch.delenv("EMOTION_DATA")
    assert compose("data=ravdess").data.root == "./data"


@pytest.mark.parametrize(
    "target",
    [
        "joblib.load",
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.optim.Adadelta",
        "torch.nn.Linear",
        "emotion.files.write_text",
        "emotion.files.fingerprint",
        "emotion.corpora.ravdess.Ravdess",
        "emotion.nothing.Here",
        "emotionless.Thing",
        "",
    ],
)
def test_untrusted_targets_are_refused(target):
    with pytest.raises(EmotionError, match="_target_"):
        instantiate(Target.parse("features.sets.x", {"_target_": target}), FeatureSet)


def test_refused_targets_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EmotionError, match="refused"):
        instantiate(Target.parse("data.corpus", {"_target_": "trap.Anything"}), Corpus)


def test_misspelt_arguments_are_reported():
    target = Target("emotion.features.spectral.Mfcc", {"n_mffc": 13})
    with pytest.raises(EmotionError, match="did you mean n_mfcc"):
        instantiate(target, FeatureSet, sample_rate=16_000)


def test_biases_and_norms_have_no_weight_decay(compose):
    from emotion.training.module import EmotionModule

    config = typed_config(compose())
    classifier = build_classifier(config, 8)
    module = EmotionModule(classifier, classes("emotions"), config.optimizer, config.scheduler)
    module.trainer = type("Trainer", (), {"estimated_stepping_batches": 10})()
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    assert all(parameter.ndim > 1 for parameter in groups[0]["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(classifier.parameters()))


def test_reference_page_is_up_to_date():
    path = ROOT / "docs" / "configuration.md"
    assert path.read_text() == reference(), (
        f"python -m emotion.config.reference {path.relative_to(ROOT)} regenerates it"
    )
