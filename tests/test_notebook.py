"""Tests of a training without a command line: a LightningModule and a data module for a Trainer."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from emotion.errors import EmotionError
from emotion.notebook import build, configure

SMALL = ("data=demo", "model=mfcc_cnn", "features=mfcc")


def trainer(epochs, folder):
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[ModelCheckpoint(folder, save_top_k=-1)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture(scope="module")
def parts():
    return build(configure(*SMALL))


def test_a_trainer_fits_tests_and_predicts(parts, tmp_path):
    model, data = parts
    model.classifier.head = nn.Sequential(model.classifier.head, nn.Identity())  # a head of one's own is trained too
    before = [value.clone() for value in model.classifier.head.parameters()]
    own = trainer(2, tmp_path)
    own.fit(model, data)
    assert all(not torch.equal(old, new) for old, new in zip(before, model.classifier.head.parameters(), strict=True))
    assert set(own.callback_metrics) >= {"train/loss", "dev/loss", "dev/uar"}
    (metrics,) = own.test(model, data, verbose=False)
    probabilities = torch.cat(own.predict(model, data))
    assert probabilities.sum(dim=1) == pytest.approx(torch.ones(len(probabilities)).numpy(), abs=1e-5)
    labels = torch.tensor(data.table.loc[data.table["split"] == "test", "label"].to_numpy())
    correct = probabilities.argmax(dim=1) == labels
    recalls = [correct[labels == label].float().mean() for label in labels.unique()]
    assert metrics["test/uar"] == pytest.approx(float(torch.stack(recalls).mean()), abs=1e-6)
    assert metrics["test/war"] == pytest.approx(float(correct.float().mean()), abs=1e-6)
    again = trainer(2, tmp_path / "again")
    again.fit(model, data, ckpt_path=min(tmp_path.glob("epoch=0*.ckpt")), weights_only=True)
    assert again.current_epoch == 2 and [path.stem[:7] for path in (tmp_path / "again").iterdir()] == ["epoch=1"]


def test_configurations_are_those_of_the_command_line():
    config = configure(*SMALL, "experiment=mfcc_cnn_luna5", "data=demo", "optimizer.lr=0.004", "seed=7")
    assert (config.name, config.protocol.name, config.optimizer.lr, config.seed) == (
        "mfcc_cnn_luna5",
        "luna5",
        0.004,
        7,
    )
    with pytest.raises(EmotionError, match="did you mean model"):
        configure("modle=mfcc_cnn")
    with pytest.raises(EmotionError, match=r"optimizer\.lr"):
        configure("optimizer.lr=-1")
    with pytest.raises(EmotionError, match="is not trained in epochs"):
        build(configure("data=demo", "model=svm", "features=mfcc"))
