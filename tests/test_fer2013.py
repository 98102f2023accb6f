"""Tests of FER2013, the FER+ votes and single images."""

import json
import shutil
import zipfile

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from conftest import build_datamodule
from emotion.config.schema import ProtocolConfig
from emotion.corpora.fer2013 import COPIES, Fer2013, find_copies
from emotion.errors import EmotionError
from emotion.media.files import MediaError
from emotion.media.video import read_frames
from emotion.protocols.generate import make


@pytest.fixture(scope="session")
def fer2013(real_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("fer")
    with zipfile.ZipFile(real_data / "fer2013.zip") as archive:
        archive.extractall(root / "fer2013")
    shutil.copy(real_data / "fer2013_ferplus.csv", root / "fer2013")
    return root


@pytest.fixture(scope="session")
def subset(fer2013, tmp_path_factory):
    """Return the folder of every hundredth image, and the votes."""
    root = tmp_path_factory.mktemp("subset")
    table = Fer2013().scan(fer2013 / "fer2013").groupby("emotion").sample(frac=0.01, random_state=0)
    for path in table["video"]:
        (root / "fer2013" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fer2013 / "fer2013" / path, root / "fer2013" / path)
    shutil.copy(fer2013 / "fer2013" / "fer2013_ferplus.csv", root / "fer2013")
    return root


@pytest.mark.slow
def _settings(name):
    return ProtocolConfig(name=name, fold=0, speaker_independent=False, labels="fer2013")


@pytest.mark.slow
def test_list_of_duplicate_images_matches_the_files(fer2013):
    groups = find_copies(fer2013 / "fer2013")
    assert "\n".join(" ".join(group) for group in groups) + "\n" == COPIES.read_text()
    assert sum(len(group) - 1 for group in groups) == 1_853
    assert sum(len({name.split("/")[1] for name in group}) > 1 for group in groups) == 57
    assert sum(len({name.split("/")[0] for name in group}) > 1 for group in groups) == 531


@pytest.mark.slow
def test_splits_share_no_image_and_test_is_complete(fer2013):
    corpus = Fer2013()
    table = corpus.scan(fer2013 / "fer2013")
    assert "35,887 images, complete" in corpus.describe(table, "speech")
    rows = table.to_dict("records")
    splits = make(_settings("official"), "fer2013", rows).table
    assert splits["split"].value_counts().to_dict() == {"train": 26_912, "dev": 3_543, "test": 3_589}
    first = dict(zip(table["recording"], table["repetition"], strict=True))
    image = splits["recording"].map(lambda name: first[name] or name)
    assert (splits.assign(image=image).groupby("image")["split"].nunique() == 1).all()
    train = image[splits["split"] == "train"]
    assert train.is_unique
    for split, name in (("train", "Training"), ("dev", "PublicTest"), ("test", "PrivateTest")):
        assert splits.loc[splits["split"] == split, "recording"].str.contains(name).all()

    unique_test = make(_settings("unique_test"), "fer2013", rows).table
    assert set(unique_test["split"]) == {"test"}
    assert set(unique_test["recording"]) < set(splits["recording"][splits["split"] == "test"])
    assert unique_test["recording"].map(lambda name: first[name] or name).is_unique


@pytest.mark.slow
def test_votes_determine_labels_and_soft_targets(subset, compose):
    votes = pd.read_csv(subset / "fer2013" / "fer2013_ferplus.csv").set_index("file")
    config = compose(
        "data=fer2013",
        f"data.root={subset}",
        "data.corpus.votes=fer2013_ferplus.csv",
        "labels=ferplus",
        "task=distribution",
        "model=face_cnn",
    )
    datamodule = build_datamodule(config)
    datamodule.setup()
    table = datamodule.table
    assert len(table) < 360
    names = {"happiness": "happy", "surprise": "surprised", "sadness": "sad", "anger": "angry", "fear": "fearful"}
    for path, emotion in zip(table["video"], table["emotion"], strict=True):
        counts = votes.loc[path, "neutral":"NF"].astype(int)
        assert names.get(counts.idxmax(), counts.idxmax()) == emotion
        assert counts.max() > counts[counts > 1].sum() / 2
    batch = next(datamodule.batches("train"))
    assert batch["target"].shape == (32, 8)
    torch.testing.assert_close(batch["target"].sum(dim=1), torch.ones(32))
    assert (batch["target"].argmax(dim=1) == batch["label"]).all()
    assert (batch["target"].amax(dim=1) < 1).any()
    with pytest.raises(EmotionError, match="is not the table of FER"):
        Fer2013("train").scan(subset / "fer2013")


@pytest.mark.slow
@pytest.mark.parametrize(
    "votes", [[], ["data.corpus.votes=fer2013_ferplus.csv", "labels=ferplus", "task=distribution", "augment=mixup"]]
)
def test_face_cnn_trains_on_images(subset, train_in_process, votes):
    sizes = ("model.images.size=48", "model.images.color=grey", "model.backbone.widths=[8,16]")
    run_dir = train_in_process(
        "data=fer2013", f"data.root={subset}", "model=face_cnn", *sizes, "trainer.max_epochs=1", *votes
    )
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["speaker_independent"] is False
    assert metrics["protocol"] == "official"
    assert 0 <= metrics["test/uar"] <= 1


@pytest.mark.slow
def test_face_networks_transfer_to_another_corpus(subset, train_in_process, demo_root, tmp_path):
    sizes = ("model.images.size=48", "model.backbone.widths=[8,16]")
    faces = train_in_process(
        "data=fer2013", f"data.root={subset}", "model=face_cnn", *sizes, "trainer.max_epochs=1", name="faces"
    )
    root = tmp_path / "images"
    for actor in range(1, 6):
        for emotion in ("happy", "sad", "angry"):
            (root / emotion).mkdir(parents=True, exist_ok=True)
            image = np.full((90, 120, 3), 40 * actor, np.uint8)
            cv2.imwrite(str(root / emotion / f"p{actor}.png"), image)
    overrides = ("data=folder", f"data.root={root}", "data.corpus.speaker=p.", "protocol=speakers5", "faces=crops")
    run_dir = train_in_process(
        *overrides, "model=face_cnn", f"model.init_from={faces}", "trainer.max_epochs=1", name="videos"
    )
    pretraining = pd.read_csv(run_dir / "splits.csv").query("split == 'pretraining'")
    assert len(pretraining)
    assert pretraining["recording"].str.contains("fer2013").all()


def test_images_are_videos_of_one_frame(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20] = (255, 0, 0)  # blue, since OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "ü.png"), pixels) or cv2.imencode(".png", pixels)[1].tofile(tmp_path / "ü.png")
    (image,) = read_frames(tmp_path / "ü.png")
    assert (image.size, image.time) == ((60, 40), 0.0)
    assert image.pixels()[0, 0].tolist() == [0, 0, 255]
    assert image.pixels(30).shape == (20, 30, 3)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("broken.jpg", "empty.jpg", "absent.jpg"):
        with pytest.raises(MediaError, match=name):
            list(read_frames(tmp_path / name))
