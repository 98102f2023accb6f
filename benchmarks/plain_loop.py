"""Compare `train.py` with a plain PyTorch loop over the same network, on folds of RAVDESS speech.

    EMOTION_DATA=DIR python benchmarks/plain_loop.py [FOLD...]

Both start from prepared features, the loop from tensors in memory. Both mask features, average weights, and evaluate
dev after every epoch, which selects the epoch that is tested.
"""

import copy
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import hydra
import torch
from sklearn.metrics import recall_score
from torch.nn.utils.rnn import pad_sequence

from emotion.augment.base import Augmentation
from emotion.composition import datamodule_of, kind_of
from emotion.config.compose import DIRECTORY
from emotion.config.target import instantiate
from emotion.config.validate import validate
from emotion.data.table import class_weights
from emotion.pipelines.train import train

RATE, DECAY, CLIP, EMA, SMOOTHING, BATCH = 0.002, 0.01, 5.0, 0.99, 0.1, 32


def compose(fold, seed):
    overrides = ["experiment=mfcc_cnn_luna5", f"protocol.fold={fold}", f"seed={seed}"]
    with hydra.initialize_config_dir(str(DIRECTORY), version_base="1.3"):
        return hydra.compose("train", overrides=overrides), overrides


def by_the_framework(fold, seed):
    config, overrides = compose(fold, seed)
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder) / "run", overrides, hints=False)
        metrics = json.loads((Path(folder) / "run" / "metrics.json").read_text())
    return metrics["fit_seconds"], metrics["test/uar"]


def in_memory(config):
    """Return normalised features of each split, as a list of tensors (frames, features), and their labels."""
    datamodule = datamodule_of(config)
    datamodule.setup()
    front_end = kind_of(config, 8).build().encoder.front_end
    front_end.fit(datamodule.batches("train"))
    front_end.eval()
    splits = {}
    for split in ("train", "dev", "test"):
        items, labels = [], []
        for batch in datamodule.batches(split):
            features, frames = front_end(batch)
            items += [item[:, :count].T.clone() for item, count in zip(features, frames.tolist(), strict=True)]
            labels.append(batch["label"])
        splits[split] = items, torch.cat(labels)
    return splits, class_weights(datamodule.table, len(datamodule.classes))


def pad(items):
    return pad_sequence(items, batch_first=True).transpose(1, 2), torch.tensor([len(item) for item in items])


@torch.no_grad()
def uar(model, items, labels):
    model.eval()
    found = [model(*pad(items[at : at + BATCH])).argmax(dim=1) for at in range(0, len(items), BATCH)]
    return recall_score(labels, torch.cat(found), average="macro")


class Model(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        classifier = kind_of(config, 8).build()
        self.backbone, self.head = classifier.encoder.backbone, classifier.head

    def forward(self, features, frames):
        return self.head(self.backbone(features, frames))


def by_a_plain_loop(fold, seed):
    config = validate(compose(fold, seed)[0])
    splits, weights = in_memory(config)
    (items, labels), epochs = splits["train"], config.trainer.max_epochs
    torch.manual_seed(seed)
    model, mask = Model(config), instantiate(config.augment["spec_augment"], Augmentation).train()
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA))
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, RATE)
    steps = len(items) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps * epochs, pct_start=0.2)
    loss = torch.nn.CrossEntropyLoss(weights, label_smoothing=SMOOTHING)
    best, chosen, began = -1.0, None, time.perf_counter()
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(items))[: steps * BATCH].split(BATCH):
            features, frames = pad([items[row] for row in rows])
            optimizer.zero_grad()
            loss(model(mask(features, frames), frames), labels[rows]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            averaged.update_parameters(model)
        for own, other in zip(averaged.module.buffers(), model.buffers(), strict=True):
            own.copy_(other)
        if (found := uar(averaged, *splits["dev"])) > best:
            best, chosen = found, copy.deepcopy(averaged)
    return time.perf_counter() - began, uar(chosen, *splits["test"])


def main():
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    ours, theirs = [], []
    for number, fold in enumerate(sys.argv[1:] or ["0"]):
        ours.append(by_the_framework(fold, number))
        theirs.append(by_a_plain_loop(fold, number))
        texts = [f"{seconds:.1f} s, UAR {found:.3f}" for seconds, found in (ours[-1], theirs[-1])]
        print(f"fold {fold}, seed {number}: train.py {texts[0]}; plain loop {texts[1]}", flush=True)
    seconds, figures = zip(*(zip(*each, strict=True) for each in (ours, theirs)), strict=True)
    ratio = sum(seconds[0]) / sum(seconds[1])
    means = " and ".join(f"{statistics.mean(found):.3f}" for found in figures)
    print(f"in all: {ratio:.2f} times as long, mean UAR {means}")


if __name__ == "__main__":
    main()
