"""Tests of several corpora as one: keys, splits, labels, sampling, normalisation."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import build_datamodule, typed_config
from emotion import runs
from emotion.augment.mixup import Mixup
from emotion.batch import Batch
from emotion.data.groups import fit_groups, is_transductive
from emotion.data.sampler import EpochSampler
from emotion.data.table import sampling_weights
from emotion.errors import EmotionError
from emotion.pipelines.evaluate import evaluate
from emotion.pipelines.train import train
from emotion.training.loss import batch_loss

SMALL = ("trainer.max_epochs=1", "model.backbone.channels=[4,4,4,4]")


@pytest.fixture(scope="session")
def two_corpora(demo_root, tmp_path_factory):
    """A folder with `ravdess` (six actors of the demo corpus) and `own/<emotion>` (five people, without calm)."""
    root = tmp_path_factory.mktemp("corpora")
    for actor in range(1, 7):
        folder = root / "ravdess" / f"Actor_{actor:02}"
        shutil.copytree(demo_root / f"Actor_{actor:02}", folder, ignore=shutil.ignore_patterns("*.mp4"))
    for number, emotion in enumerate(("happy", "sad", "angry"), start=3):
        for actor in range(11, 16):
            path = root / "own" / emotion / f"person{actor}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(demo_root / f"Actor_{actor}" / f"03-01-{number:02}-01-01-01-{actor}.wav", path)
    return root


@pytest.fixture
def overrides(two_corpora):
    own = f"{two_corpora}/own"
    return (
        *("data=several", f"data.root={two_corpora}", "data.corpora=[ravdess,own]"),
        f"+data.options.own={{choice:folder,root:{own},speaker:person..}}",
    )


def test_recordings_and_speakers_have_the_name_of_their_corpus(overrides, compose):
    datamodule = build_datamodule(compose(*overrides))
    datamodule.setup()
    table = datamodule.table
    corpus = table["recording"].str.split("/").str[0]
    assert corpus.value_counts().to_dict() == {"ravdess": 96, "own": 15}
    assert set(table.loc[corpus == "own", "speaker"]) == {f"own/person{number}" for number in range(11, 16)}
    assert typed_config(compose(*overrides)).data.name == "ravdess_own"
    assert datamodule.table.groupby("speaker")["split"].nunique().max() == 1
    batch = next(datamodule.batches("train"))
    assert batch["waveform_length"].min() > 8_000


def test_options_are_checked(overrides, compose, tmp_path):
    for extra, message in (
        (["data.corpora=[own,rawdess]"], "unknown corpus rawdess: did you mean ravdess"),
        (["+data.options.tess.root=x"], "data.options.tess"),
        (["data.options.own.root=nowhere"], "data.options.own.root=nowhere: nowhere is not a directory"),
        (["data.options.own.channel=spoken"], "data.options.own.channel=spoken"),
        (["data.root=" + str(tmp_path)], "ravdess is not in data.root="),
        (["protocol=cross_corpus", "protocol.test_corpora=[tess]"], "protocol.test_corpora: unknown corpus tess"),
        (["protocol=cross_corpus"], "but not all"),
        (["protocol=leave_one_corpus_out", "protocol.fold=2"], "protocol.fold goes from 0 to 1"),
    ):
        with pytest.raises(EmotionError, match=message):
            build_datamodule(compose(*overrides, *extra)).setup()
    with pytest.raises(EmotionError, match=r"data\.corpora names no corpus"):
        build_datamodule(compose("data=several", "data.corpora=[]"))


def test_cross_corpus_protocols_test_whole_corpora(overrides, compose):
    tested = {}
    for number, choice in enumerate(
        (
            ["protocol=leave_one_corpus_out", "protocol.fold=0"],
            ["protocol=leave_one_corpus_out", "protocol.fold=1"],
            ["protocol=cross_corpus", "protocol.test_corpora=[own]"],
        )
    ):
        datamodule = build_datamodule(compose(*overrides, *choice))
        table = datamodule.protocol.table
        tested[number] = table.groupby(table["recording"].str.split("/").str[0])["split"].unique().map(sorted).to_dict()
        assert not set(table.loc[table["split"] == "dev", "speaker"]) & set(
            table.loc[table["split"] == "train", "speaker"]
        )
    assert tested == {
        0: {"own": ["test"], "ravdess": ["dev", "train"]},
        1: {"own": ["dev", "train"], "ravdess": ["test"]},
        2: {"own": ["test"], "ravdess": ["dev", "train"]},
    }


def test_pooled_folds_test_every_speaker_once(overrides, compose):
    tested = []
    for fold in range(5):
        table = build_datamodule(compose(*overrides, f"protocol.fold={fold}")).protocol.table
        assert table.groupby("speaker")["split"].nunique().max() == 1
        for split in ("train", "dev", "test"):
            assert table.loc[table["split"] == split, "recording"].str.split("/").str[0].nunique() == 2
        tested += list(table.loc[table["split"] == "test", "speaker"].unique())
    assert sorted(tested) == sorted(set(tested))
    assert len(tested) == 11


def test_corpora_with_two_speakers_test_each_and_share_them_between_train_and_dev(real_data, compose):
    for fold in range(2):
        table = build_datamodule(
            compose("data=several", "data.corpora=[tess,ased]", f"data.root={real_data}", f"protocol.fold={fold}")
        ).protocol.table
        tess = table[table["recording"].str.startswith("tess/")]
        speakers = tess.groupby("split")["speaker"].unique().map(list).to_dict()
        assert len(speakers["test"]) == 1
        assert speakers["train"] == speakers["dev"] != speakers["test"]


def test_corpora_with_committed_protocols_together_have_those_of_several(real_data, compose):
    for protocol, folds in (("pooled", 5), ("leave_one_corpus_out", 2)):
        overrides = ("data=several", "data.corpora=[ravdess,tess]", f"data.root={real_data}", f"protocol={protocol}")
        loaded = build_datamodule(compose(*overrides)).protocol
        assert (loaded.name, loaded.folds) == (protocol, folds)
        assert set(loaded.table["recording"].str.split("/").str[0]) == {"ravdess", "tess"}


def test_labels_that_a_corpus_lacks_do_not_count(overrides, compose):
    datamodule = build_datamodule(compose(*overrides))
    datamodule.setup()
    assert len(datamodule.classes) == 8
    dataset = datamodule.dataset("train", augmented=True)
    batch = dataset.__getitems__(range(len(dataset)))
    names = {tuple(np.array(datamodule.classes)[mask]) for mask in batch["label_mask"].numpy()}
    assert names == {datamodule.classes, ("happy", "sad", "angry")}
    logits = torch.randn(len(dataset), 8, requires_grad=True)
    batch_loss(logits, batch, label_smoothing=0.1).backward()
    assert not logits.grad[~batch["label_mask"]].any()
    assert logits.grad[batch["label_mask"]].abs().min() > 0


def test_the_masked_loss_equals_that_of_torch_on_the_known_classes():
    torch.manual_seed(0)
    logits, label, weights = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([1.0, 2, 0.5, 3, 1])
    mask = torch.tensor([True, True, True, False, False]).expand(6, 5)
    shares = torch.softmax(torch.randn(6, 3), dim=1)
    for options in ({}, {"label_smoothing": 0.2}, {"weights": weights}):
        few = options | ({"weight": weights[:3]} if options.pop("weights", None) is not None else {})
        few = {key: value for key, value in few.items() if key != "weights"}
        given = {**options, **({"weights": weights} if "weight" in few else {})}
        expected = torch.nn.functional.cross_entropy(logits[:, :3], label, **few)
        torch.testing.assert_close(batch_loss(logits, {"label": label, "label_mask": mask}, **given), expected)
        expected = torch.nn.functional.cross_entropy(logits[:, :3], shares, **few)
        soft = torch.cat([shares, torch.zeros(6, 2)], dim=1)
        torch.testing.assert_close(
            batch_loss(logits, {"label": label, "target": soft, "label_mask": mask}, **given), expected
        )


def test_the_loss_of_a_mixture_is_that_of_the_mixed_label():
    torch.manual_seed(0)
    logits, label, weights = torch.randn(64, 5), torch.arange(64) % 5, torch.tensor([1.0, 2, 0.5, 3, 1])
    batch = Mixup(0.5)({"label": label})
    hot, weight = torch.nn.functional.one_hot(label, 5).float(), batch["mix_weight"][:, None]
    mixed = weight * hot + (1 - weight) * hot[batch["mix_partner"]]
    expected = torch.nn.functional.cross_entropy(logits, mixed, weights, label_smoothing=0.1)
    torch.testing.assert_close(batch_loss(logits, batch, weights, label_smoothing=0.1), expected)


def test_mixtures_teach_no_corpus_that_it_lacks_the_classes_of_another():
    logits, mask = torch.zeros(2, 3, requires_grad=True), torch.tensor([[True, True, False], [True, True, True]])
    batch = {"label": torch.tensor([0, 1]), "label_mask": mask, "mix_partner": torch.tensor([1, 0])}
    batch_loss(logits, batch | {"mix_weight": torch.tensor([1.0, 1.0])}).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad * 2, torch.tensor([[-1 / 2, 1 / 2, 0], [1 / 3, -2 / 3, 1 / 3]]))
    logits.grad = None
    batch_loss(logits, batch | {"mix_weight": torch.tensor([0.75, 0.75])}).backward()
    # The other class of the second corpus is pushed down by the share of its own item alone.
    torch.testing.assert_close(logits.grad[:, 2] * 2, torch.tensor([0.25 / 3, 0.75 / 3]))


def test_a_temperature_balances_the_classes_of_the_corpora():
    sizes = {(0, 0): 400, (0, 1): 100, (1, 0): 25}
    rows = [
        {"recording": f"{corpus}/{label}/{number}", "split": "train", "corpus_index": corpus, "label": label}
        for (corpus, label), size in sizes.items()
        for number in range(size)
    ]
    table = pd.DataFrame(rows)
    assert sampling_weights(table, 1.0) is None
    for temperature, shares in ((2.0, np.sqrt([400, 100, 25])), (1e9, np.ones(3))):
        sampler = EpochSampler(525, 3, weights=sampling_weights(table, temperature))
        drawn = []
        for epoch in range(20):
            sampler.set_epoch(epoch)
            drawn += list(sampler)
        assert len(drawn) == 20 * 525
        counts = table.iloc[drawn].groupby(["corpus_index", "label"]).size().to_numpy()
        np.testing.assert_allclose(counts / len(drawn), shares / shares.sum(), atol=0.01)
    sampler.set_epoch(0)
    assert list(sampler) == list(sampler) == drawn[:525]


@pytest.mark.parametrize("normalize", ["corpus", "speaker"])
def test_statistics_of_groups_are_of_train_where_there_is_one(overrides, compose, normalize):
    from emotion.features.normalization import FrontEnd

    class Levels(FrontEnd):
        def present(self, batch: Batch):
            return batch["waveform_length"] > 0

        def compute_features(self, batch: Batch):
            levels = (batch["corpus"] + batch["label"]).float()
            return levels[:, None, None], torch.ones_like(batch["label"])

    datamodule = build_datamodule(compose(*overrides, "protocol=cross_corpus", "protocol.test_corpora=[own]"))
    datamodule.setup()
    front_end = Levels(1, normalize)
    fit_groups(datamodule, [front_end])
    table = datamodule.table
    used = table[(table["split"] == "train") | (table["corpus_index"] == 0) | (normalize == "speaker")]
    expected = (used["corpus_index"] + used["label"]).groupby(used[f"{normalize}_index"]).mean()
    np.testing.assert_allclose(front_end.group_mean[:, 0], expected, rtol=1e-5)
    assert is_transductive(datamodule, normalize, "test")
    assert is_transductive(datamodule, normalize, "dev") == (normalize == "speaker")


@pytest.mark.slow
def test_runs_are_evaluated_over_the_shared_classes_too(overrides, compose, tmp_path):
    few = (*overrides, *SMALL, "protocol=cross_corpus", "protocol.test_corpora=[own]")
    train(compose(*few), tmp_path / "run", list(few))
    metrics = runs.load_metrics(tmp_path / "run")
    rows = pd.read_csv(tmp_path / "run" / "predictions.csv").query("split == 'test'")
    shared = ["happy", "sad", "angry"]
    chosen = rows[shared].idxmax(axis=1)
    recalls = [(chosen[rows["emotion"] == name] == name).mean() for name in shared]
    assert metrics["test/uar_shared"] == pytest.approx(np.mean(recalls))
    assert metrics["test/uar_shared"] >= metrics["test/uar"]
    saved = (tmp_path / "run" / "config.yaml").read_text()
    assert "tmp" not in saved.replace("_tmp", "")
    assert "/own" not in (tmp_path / "run" / "overrides.yaml").read_text()
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["data_roots"]["own"].endswith("/own")
    evaluate(compose(f"run={tmp_path / 'run'}", "split=test", config_name="evaluate"), [f"run={tmp_path / 'run'}"])
    (folder,) = (tmp_path / "run" / "evaluations").iterdir()
    again = json.loads((folder / "metrics.json").read_text())
    assert again["test/uar_shared"] == pytest.approx(metrics["test/uar_shared"])


def test_files_that_two_corpora_hold_are_not_trained_on_and_tested(two_corpora, overrides, compose):
    copy = two_corpora / "own" / "happy" / "person11_copy.wav"
    shutil.copy(two_corpora / "own" / "happy" / "person11.wav", copy)
    other = two_corpora / "ravdess" / "Actor_01" / "03-01-03-01-01-01-01.wav"
    twin = two_corpora / "own" / "happy" / "person12_twin.wav"
    shutil.copy(other, twin)
    try:
        given = (*overrides, "protocol=cross_corpus", "protocol.test_corpora=[own]")
        table = build_datamodule(compose(*given)).protocol.table.set_index("recording")
        assert "ravdess/01-03-01-01-01-01" not in table.index
        assert table.loc["own/happy/person12_twin", "split"] == "test"
        pooled = [build_datamodule(compose(*overrides, f"protocol.fold={fold}")).protocol.table for fold in range(5)]
        for table in pooled:
            split = table.set_index("recording")["split"]
            assert split.get("own/happy/person11") == split.get("own/happy/person11_copy")
            assert (
                len({split.get(key) for key in ("own/happy/person12_twin", "ravdess/01-03-01-01-01-01")} - {None}) == 1
            )
    finally:
        copy.unlink()
        twin.unlink()
