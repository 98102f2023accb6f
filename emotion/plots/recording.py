"""Plots of recordings: frames, waveform, mel spectrogram and MFCCs over time, and features of several clips."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from emotion.features.base import Signal
from emotion.features.spectral import LogMel, Mfcc
from emotion.media.audio import read_audio
from emotion.media.files import MediaError
from emotion.media.image import is_image
from emotion.media.video import frame_times, read_frames
from emotion.plots.figure import new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLE_RATE = 16_000  # Hz
_N_FFT, _HOP_LENGTH = 512, 160
_N_FRAMES = 8  # of a video


def plot_recording(path: Path) -> "Figure":
    """Plot an audio file, a video or an image; panels of a missing modality are left out.

    Raises:
        MediaError: neither audio nor video can be decoded.
    """
    waveform, frames, errors = None, [], []
    try:
        waveform = None if is_image(path) else read_audio(path, SAMPLE_RATE)
    except MediaError as error:
        errors.append(error)
    try:
        frames = _sample_frames(path)
    except MediaError as error:
        errors.append(error)
    if waveform is None and not frames:
        raise errors[0]
    heights = ([0.9] if frames else []) + ([0.8, 1.6, 1.2] if waveform is not None else [])
    figure, grid = new_panels(9, 1.15 * sum(heights) + 0.5, rows=len(heights), height_ratios=heights)
    panels = list(grid[:, 0])
    if frames:
        _plot_frames(panels.pop(0), frames)
    if waveform is not None:
        _plot_audio(panels, waveform)
    figure.suptitle(path.name)
    return figure


def _sample_frames(path: Path) -> list[tuple[float, np.ndarray]]:
    """Return time in seconds and pixels of frames spread evenly over a video."""
    times = frame_times(path)
    wanted = iter(np.unique(times[np.linspace(0, len(times) - 1, _N_FRAMES).round().astype(int)]))
    due, sampled = next(wanted), []
    for frame in read_frames(path):
        if due is not None and frame.time >= due - 1e-4:
            sampled.append((frame.time, frame.pixels(320)))
            due = next(wanted, None)
    return sampled


def _plot_frames(axes: "Axes", frames: list[tuple[float, np.ndarray]]) -> None:
    axes.imshow(np.concatenate([pixels for _, pixels in frames], axis=1))
    width = frames[0][1].shape[1]
    axes.set_xticks([(n + 0.5) * width for n in range(len(frames))], [f"{time:.2f} s" for time, _ in frames])
    axes.set_yticks([])


def _plot_audio(panels: "list[Axes]", waveform: np.ndarray) -> None:
    duration = len(waveform) / SAMPLE_RATE
    signal = Signal(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]), _N_FFT, _HOP_LENGTH)
    mel, mfcc = (feature(SAMPLE_RATE, _N_FFT)(signal)[0].numpy() for feature in (LogMel, Mfcc))
    wave, spectrogram, cepstrum = panels
    wave.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, linewidth=0.4, color="#12304f")
    wave.set(xlim=(0, duration), ylim=(-1, 1), ylabel="waveform")
    image = spectrogram.imshow(mel, origin="lower", aspect="auto", cmap="magma", extent=(0, duration, 0, len(mel)))
    spectrogram.set_ylabel("mel band")
    spectrogram.figure.colorbar(image, ax=spectrogram, label="dB", pad=0.01)
    scaled = (mfcc - mfcc.mean(axis=1, keepdims=True)) / (mfcc.std(axis=1, keepdims=True) + 1e-6)
    cepstrum.imshow(
        scaled, origin="lower", aspect="auto", cmap="cividis", vmin=-3, vmax=3, extent=(0, duration, 0, len(mfcc))
    )
    cepstrum.set(xlabel="time (s)", ylabel="MFCC (standardised)")


def mel_spectrogram(path: Path) -> np.ndarray:
    """Return the mel spectrogram of a file in decibels, shape (n_mels, n_frames)."""
    waveform = torch.from_numpy(read_audio(path, SAMPLE_RATE))
    signal = Signal(waveform[None], torch.tensor([len(waveform)]), n_fft=_N_FFT, hop_length=_HOP_LENGTH)
    return LogMel(SAMPLE_RATE, n_fft=_N_FFT)(signal)[0].numpy()


def plot_features(clips: list[tuple[str, np.ndarray]], title: str) -> "Figure":
    """Plot the features of several clips side by side.

    Args:
        clips: Name, and normalised features of shape (n_features, n_frames), of each clip.
        title: Title of the figure.
    """
    figure, grid = new_panels(14, 5.2, rows=2, columns=(len(clips) + 1) // 2)
    panels = grid.ravel()
    for axes in panels[len(clips) :]:
        axes.axis("off")
    for axes, (name, features) in zip(panels, clips, strict=False):
        axes.imshow(features, origin="lower", aspect="auto", cmap="cividis", vmin=-3, vmax=3)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    panels[0].set_ylabel("feature")
    panels[0].set_xlabel("frame")
    figure.suptitle(title)
    return figure
