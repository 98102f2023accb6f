"""Reconstructions of an autoencoder, as plots and audio."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emotion.data.datamodule import EmotionDataModule
from emotion.features.front_end import AudioFrontEnd
from emotion.features.normalization import FrontEnd
from emotion.features.spectral import LogMel, Mfcc
from emotion.features.stack import FeatureStack
from emotion.files import atomic_path
from emotion.media.audio import write_wav
from emotion.metrics.reconstruction import ERRORS, reconstruction_errors, reconstruction_metrics
from emotion.models.autoencoder import autoencoder_of
from emotion.models.base import Classifier
from emotion.plots.figure import SERIES_STYLES, label_colors, new_panels, save_figure
from emotion.plots.recording import plot_features
from emotion.protocols import SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_SAMPLES = 4


def write_reconstructions(
    run_dir: Path, classifier: Classifier, datamodule: EmotionDataModule, trained_label: str
) -> dict[str, float]:
    """Write `RUN/reconstructions/`.

    errors.csv              errors of all recordings, see `metrics.reconstruction.reconstruction_errors`
    errors.png              test errors by emotion, and ROC curves of detecting emotions other than `trained_label`
    reconstructions.png     one test recording of each emotion and its reconstruction
    samples.png             samples of a variational autoencoder
    *.wav                   the same as audio (Griffin & Lim, 1984, https://doi.org/10.1109/TASSP.1984.1164317), of MFCC
                            and mel spectrograms; `…_features.wav` is synthesised from the original features

    Args:
        run_dir: Directory of the run.
        classifier: Classifier whose backbone is an `Autoencoder`.
        datamodule: Data module after `setup`.
        trained_label: The label the autoencoder was trained on.

    Returns:
        The metrics of `metrics.reconstruction.reconstruction_metrics`, of all splits.
    """
    folder = run_dir / "reconstructions"
    folder.mkdir(exist_ok=True)
    classifier.cpu().eval()
    errors = pd.concat([reconstruction_errors(classifier, datamodule, split) for split in SPLITS], ignore_index=True)
    with atomic_path(folder / "errors.csv") as temporary:
        errors.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
    test = errors[errors["split"] == "test"]
    save_figure(_plot_errors(test, datamodule.classes, trained_label), folder / "errors.png")
    _write_examples(folder, classifier, datamodule)
    if autoencoder_of(classifier)[1].variational:
        _write_samples(folder, classifier, trained_label, datamodule.sample_rate)
    splits = [rows for _, rows in errors.groupby("split")]
    return {key: value for rows in splits for key, value in reconstruction_metrics(rows, trained_label).items()}


def _plot_errors(rows: pd.DataFrame, classes: tuple[str, ...], trained_label: str) -> "Figure":
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, [panels] = new_panels(13, 4.4, columns=3)
    other = rows["emotion"] != trained_label
    for axes, (name, title), (color, _) in zip(panels, ERRORS.items(), SERIES_STYLES, strict=False):
        by_label = [rows[name][rows["emotion"] == label] for label in classes]
        boxes = axes.boxplot(by_label, tick_labels=classes, patch_artist=True, medianprops={"color": "black"})
        for box, label_color in zip(boxes["boxes"], label_colors(classes), strict=True):
            box.set_facecolor(label_color)
        axes.tick_params(axis="x", rotation=35)
        axes.set(title=title)
        if 0 < other.sum() < len(rows):
            false_positives, true_positives, _ = roc_curve(other, rows[name])
            label = f"{title}: {roc_auc_score(other, rows[name]):.3f}"
            panels[2].plot(false_positives, true_positives, color=color, label=label)
    panels[2].legend(loc="lower right", title="area under the curve", fontsize=8)
    panels[2].plot([0, 1], [0, 1], color="#999999", linestyle="--")
    panels[2].set(xlabel="false positive rate", ylabel="true positive rate", title=f"detection of not {trained_label}")
    panels[2].set_aspect("equal")
    figure.suptitle(f"Reconstruction errors of test recordings; the autoencoder was trained on {trained_label}")
    return figure


@torch.no_grad()
def _write_examples(folder: Path, classifier: Classifier, datamodule: EmotionDataModule) -> None:
    dataset, (front_end, network) = datamodule.dataset("test"), autoencoder_of(classifier)
    indices = [int((dataset.label == label).nonzero()[0]) for label in dataset.label.unique()]
    batch = dataset.__getitems__(indices)
    features, frames = front_end(batch)
    reconstructed = network.reconstruction(classifier.encoder(batch)[:, :-1])
    top, bottom = [], []
    for row, label in enumerate(batch["label"].tolist()):
        name, count = datamodule.classes[label], min(int(frames[row]), network.frames)
        original, reconstruction = features[row, :, :count], reconstructed[row, :, :count]
        error = float((original - reconstruction).square().mean())
        top.append((f"{name}\n{batch['recording'][row]}", original.numpy()))
        bottom.append((f"reconstruction, error {error:.2f}", reconstruction.numpy()))
        for kind, array in (("features", original), ("reconstructed", reconstruction)):
            _write_audio(folder / f"{name}_{kind}.wav", array, front_end, datamodule.sample_rate)
    title = "One test recording of each emotion, and its reconstruction"
    save_figure(plot_features(top + bottom, title), folder / "reconstructions.png")


@torch.no_grad()
def _write_samples(folder: Path, classifier: Classifier, trained_label: str, sample_rate: int) -> None:
    front_end, network = autoencoder_of(classifier)
    samples = network.samples(_N_SAMPLES)
    clips = [(f"sample {number}", sample.numpy()) for number, sample in enumerate(samples, start=1)]
    save_figure(plot_features(clips, f"Samples of the autoencoder of {trained_label}"), folder / "samples.png")
    for number, sample in enumerate(samples, start=1):
        _write_audio(folder / f"sample_{number}.wav", sample, front_end, sample_rate)


def _write_audio(path: Path, normalized: Tensor, front_end: FrontEnd, sample_rate: int) -> None:
    """Synthesise audio from normalised features, shape (F, N), if they are MFCC or a mel spectrogram alone."""
    if not isinstance(front_end, AudioFrontEnd):
        return
    stack = front_end.features
    if not isinstance(stack, FeatureStack) or stack.n_delta_orders or front_end.normalize != "train":
        return
    feature_set, *others = stack.sets.values()
    if others or not isinstance(feature_set, LogMel):
        return
    from librosa.feature import inverse

    features = (normalized * front_end.std[:, None] + front_end.mean[:, None]).double().numpy()
    if isinstance(feature_set, Mfcc):
        power = inverse.mfcc_to_mel(features, n_mels=feature_set.bank.shape[1])
    else:
        power = 10 ** (features / 10)
    waveform = inverse.mel_to_audio(
        power, sr=sample_rate, n_fft=stack.n_fft, hop_length=stack.hop_length, fmin=feature_set.f_min
    )
    peak = np.abs(waveform).max(initial=1e-9)
    write_wav(path, waveform / peak * 0.9, sample_rate)
