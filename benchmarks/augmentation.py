"""Measure the cost of each augmentation of audio, as a fraction of a training epoch without augmentation.

    EMOTION_DATA=DIR python benchmarks/augmentation.py [MODEL...]

Epochs are of RAVDESS speech, with features that are computed in every step. The default model is `mfcc_cnn`.
"""

import statistics
import sys
import time

import torch

from emotion.augment.mixup import Mixup
from emotion.composition import datamodule_of, kind_of
from emotion.config.compose import compose
from emotion.config.target import instantiate
from emotion.config.validate import validate
from emotion.training.loss import batch_loss

SPECTRUM = ("vtlp", "equalizer", "band_limit", "reverberation", "colored_noise", "babble")
OTHERS = ("clipping", "codec", "gain", "noise", "time_shift", "speed", "spec_augment", "mixup")
CHOICES = {
    **{name: name for name in (*SPECTRUM, *OTHERS)},
    "recording conditions": f"[{','.join((*SPECTRUM[1:], 'clipping'))}]",
}
STEPS, ROUNDS = 24, 3


def prepare(model, augment):
    overrides = [f"model={model}", "data=ravdess", "protocol=luna5", "data.sample_rate=16000", "features.cache=false"]
    config = validate(compose("train", [*overrides, f"augment={augment}"]))
    datamodule = datamodule_of(config)
    datamodule.setup()
    classifier = kind_of(config, len(datamodule.classes)).build()
    classifier.encoder.fit(lambda: datamodule.batches("train"))
    mixup = [target for target in config.augment.values() if issubclass(target.resolve(), Mixup)]
    return classifier.train(), datamodule, instantiate(mixup[0], Mixup) if mixup else None


def seconds_of_steps(classifier, batches, mixup):
    optimizer = torch.optim.AdamW(classifier.parameters())
    start = time.perf_counter()
    for original in batches:
        batch = original if mixup is None else mixup(dict(original))
        loss = batch_loss(classifier(batch), batch, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def main(models):
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; {STEPS} steps of 32 recordings")
    for model in models:
        plain, datamodule, _ = prepare(model, "none")
        batches = [batch for batch, _ in zip(datamodule.train_dataloader(), range(STEPS), strict=False)]
        seconds_of_steps(plain, batches[:4], None)
        for name, choice in CHOICES.items():
            changed, _, mixup = prepare(model, choice)
            ratios = []
            for _ in range(ROUNDS):
                before = seconds_of_steps(plain, batches, None)
                ratios.append(seconds_of_steps(changed, batches, mixup) / before)
            print(f"{model}, {name}: {statistics.median(ratios) - 1:+.1%} of an epoch", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["mfcc_cnn"])
