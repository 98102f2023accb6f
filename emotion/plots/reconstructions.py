"""What an autoencoder makes of recordings: errors, the curve of what they tell apart, pictures and sound."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emotion.data.datamodule import EmotionDataModule
from emotion.features.front_end import AudioFrontEnd
from emotion.features.spectral import LogMel, Mfcc
from emotion.features.stack import FeatureStack
from emotion.files import atomic_path
from emotion.media.audio import write_wav
from emotion.models.base import Classifier
from emotion.plots.figures import SERIES, blank, colours, features_figure, save
from emotion.protocols import SPLITS

KINDS = {"error": "mean squared error", "unexplained": "share of the clip's variation"}
_SAMPLES = 4


def write_reconstructions(
    run_dir: Path, classifier: Classifier, datamodule: EmotionDataModule, only: str
) -> dict[str, float]:
    """Write `RUN/reconstructions/`.

    errors.csv              of every recording, also of those trained on: see `Autoencoder.errors`
    errors.png              by emotion, and the ROC curves of telling other emotions from the one trained on
    reconstructions.png     one test clip of each emotion above what became of it; samples.png of a variational one
    *.wav                   the same as sound (Griffin & Lim, 1984, https://doi.org/10.1109/TASSP.1984.1164317), where
                            the features are MFCC or a mel spectrogram; `…_features.wav` is of the features themselves

    Args:
        run_dir: Receives the folder.
        classifier: Its encoder's network is an `Autoencoder`.
        datamodule: Already set up.
        only: The label that it was trained on.

    Returns:
        `<split>/error/<label>` and `<split>/unexplained/<label>`, means over recordings; `…/others` is what others come
        to as a multiple of its own; and `…/auc` is the area below the ROC curve.
    """
    folder = run_dir / "reconstructions"
    folder.mkdir(exist_ok=True)
    classifier.cpu().eval()
    errors = pd.concat([_errors(classifier, datamodule, split) for split in SPLITS], ignore_index=True)
    with atomic_path(folder / "errors.csv") as temporary:
        errors.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
    save(_errors_figure(errors[errors["split"] == "test"], datamodule.classes, only), folder / "errors.png")
    _write_examples(folder, classifier, datamodule)
    if classifier.encoder.network.variational:
        _write_samples(folder, classifier, only, datamodule.sample_rate)
    return {key: value for split, rows in errors.groupby("split") for key, value in _figures(split, rows, only).items()}


@torch.no_grad()
def _errors(classifier: Classifier, datamodule: EmotionDataModule, split: str) -> pd.DataFrame:
    encoder = classifier.encoder
    found = [encoder.network.errors(*encoder.front_end(batch)) for batch in datamodule.batches(split)]
    rows = datamodule.table[datamodule.table["split"] == split]
    named = rows[["split", "recording", "speaker"]].assign(emotion=np.array(datamodule.classes)[rows["label"]])
    return named.assign(
        **{kind: torch.cat(own).numpy() for kind, own in zip(KINDS, zip(*found, strict=True), strict=True)}
    )


def _figures(split: str, rows: pd.DataFrame, only: str) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    other, figures = rows["emotion"] != only, {}
    for kind in KINDS:
        figures |= {f"{split}/{kind}/{label}": float(own[kind].mean()) for label, own in rows.groupby("emotion")}
        if 0 < other.sum() < len(rows):
            figures[f"{split}/{kind}/others"] = float(rows[kind][other].mean() / rows[kind][~other].mean())
            figures[f"{split}/{kind}/auc"] = float(roc_auc_score(other, rows[kind]))
    return figures


def _errors_figure(rows: pd.DataFrame, classes: tuple[str, ...], only: str):  # noqa: ANN202
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, panels = blank(13, 4.4, columns=3)
    other = rows["emotion"] != only
    for axes, (kind, told), (colour, _) in zip(panels, KINDS.items(), SERIES, strict=False):
        by_label = [rows[kind][rows["emotion"] == label] for label in classes]
        boxes = axes.boxplot(by_label, tick_labels=classes, patch_artist=True, medianprops={"color": "black"})
        for box, of_label in zip(boxes["boxes"], colours(classes), strict=True):
            box.set_facecolor(of_label)
        axes.tick_params(axis="x", rotation=35)
        axes.set(title=told)
        if 0 < other.sum() < len(rows):
            false, true, _ = roc_curve(other, rows[kind])
            panels[2].plot(false, true, color=colour, label=f"{told}: {roc_auc_score(other, rows[kind]):.3f}")
    panels[2].legend(loc="lower right", title="area below", fontsize=8)
    panels[2].plot([0, 1], [0, 1], color="#999999", linestyle="--")
    panels[2].set(xlabel=f"{only} taken for another", ylabel="others found", title=f"telling what is not {only}")
    panels[2].set_aspect("equal")
    figure.suptitle(f"Test recordings, reconstructed by an autoencoder that learnt {only} alone")
    return figure


@torch.no_grad()
def _write_examples(folder: Path, classifier: Classifier, datamodule: EmotionDataModule) -> None:
    dataset, network = datamodule.dataset("test"), classifier.encoder.network
    rows = [int((dataset.label == label).nonzero()[0]) for label in dataset.label.unique()]
    batch = dataset.__getitems__(rows)
    features, frames = classifier.encoder.front_end(batch)
    again = network.reconstruction(classifier.encoder(batch)[:, :-1])
    items, below = [], []
    for row, label in enumerate(batch["label"].tolist()):
        name, count = datamodule.classes[label], min(int(frames[row]), network.frames)
        own, made = features[row, :, :count], again[row, :, :count]
        error = float((own - made).square().mean())
        items.append((f"{name}\n{batch['recording'][row]}", own.numpy()))
        below.append((f"reconstructed, error {error:.2f}", made.numpy()))
        for kind, what in (("features", own), ("reconstructed", made)):
            _write_sound(folder / f"{name}_{kind}.wav", what, classifier.encoder.front_end, datamodule.sample_rate)
    title = "One test clip of each emotion, and what became of it"
    save(features_figure(items + below, title), folder / "reconstructions.png")


@torch.no_grad()
def _write_samples(folder: Path, classifier: Classifier, only: str, sample_rate: int) -> None:
    made = classifier.encoder.network.samples(_SAMPLES)
    items = [(f"sample {number}", sample.numpy()) for number, sample in enumerate(made, start=1)]
    save(features_figure(items, f"Drawn from what was learnt of {only}"), folder / "samples.png")
    for number, sample in enumerate(made, start=1):
        _write_sound(folder / f"sample_{number}.wav", sample, classifier.encoder.front_end, sample_rate)


def _write_sound(path: Path, normalized: Tensor, front_end: AudioFrontEnd, sample_rate: int) -> None:
    """Turn normalised features, shape (F, N), back into sound, if they are of a kind with which that can be done."""
    stack = front_end.features
    if not isinstance(stack, FeatureStack) or stack.deltas or front_end.normalize != "train":
        return
    kind, *others = stack.sets.values()
    if others or not isinstance(kind, LogMel):
        return
    from librosa.feature import inverse

    features = (normalized * front_end.deviation[:, None] + front_end.mean[:, None]).double().numpy()
    if isinstance(kind, Mfcc):
        power = inverse.mfcc_to_mel(features, n_mels=kind.bank.shape[1])
    else:
        power = 10 ** (features / 10)
    waveform = inverse.mel_to_audio(
        power, sr=sample_rate, n_fft=stack.n_fft, hop_length=stack.hop_length, fmin=kind.f_min
    )
    loudest = np.abs(waveform).max(initial=1e-9)
    write_wav(path, waveform / loudest * 0.9, sample_rate)
