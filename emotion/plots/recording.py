"""A recording as a picture: its frames, waveform, mel spectrogram and MFCCs, over one axis of time."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from emotion.features.base import Signal
from emotion.features.spectral import LogMel, Mfcc
from emotion.media.audio import read_audio
from emotion.media.files import MediaError
from emotion.media.image import is_image
from emotion.media.video import picture_times, read_pictures
from emotion.plots.figures import blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLE_RATE = 16_000
_N_FFT, _HOP = 512, 160
_SHOWN = 8  # pictures of a video


def clip_figure(path: Path) -> "Figure":
    """Draw a sound, a video or an image; what a file lacks is left out.

    Raises:
        MediaError: it holds neither sound nor picture that can be decoded.
    """
    waveform, pictures, problems = None, [], []
    try:
        waveform = None if is_image(path) else read_audio(path, SAMPLE_RATE)
    except MediaError as error:
        problems.append(error)
    try:
        pictures = _some_pictures(path)
    except MediaError as error:
        problems.append(error)
    if waveform is None and not pictures:
        raise problems[0]
    heights = ([0.9] if pictures else []) + ([0.8, 1.6, 1.2] if waveform is not None else [])
    figure, panels = blank(9, 1.15 * sum(heights) + 0.5, rows=len(heights), height_ratios=heights)
    panels = list(np.atleast_1d(panels))
    if pictures:
        _draw_pictures(panels.pop(0), pictures)
    if waveform is not None:
        _draw_sound(panels, waveform)
    figure.suptitle(path.name)
    return figure


def _some_pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    """Time and pixels of frames spread evenly over a video."""
    times = picture_times(path)
    wanted = iter(np.unique(times[np.linspace(0, len(times) - 1, _SHOWN).round().astype(int)]))
    due, shown = next(wanted), []
    for picture in read_pictures(path):
        if due is not None and picture.time >= due - 1e-4:
            shown.append((picture.time, picture.pixels(320)))
            due = next(wanted, None)
    return shown


def _draw_pictures(axes: object, pictures: list[tuple[float, np.ndarray]]) -> None:
    axes.imshow(np.concatenate([pixels for _, pixels in pictures], axis=1))
    width = pictures[0][1].shape[1]
    axes.set_xticks([(n + 0.5) * width for n in range(len(pictures))], [f"{time:.2f} s" for time, _ in pictures])
    axes.set_yticks([])


def _draw_sound(panels: list, waveform: np.ndarray) -> None:
    seconds = len(waveform) / SAMPLE_RATE
    signal = Signal(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]), _N_FFT, _HOP)
    mel, mfcc = (kind(SAMPLE_RATE, _N_FFT)(signal)[0].numpy() for kind in (LogMel, Mfcc))
    wave, spectrum, cepstrum = panels
    wave.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, linewidth=0.4, color="#12304f")
    wave.set(xlim=(0, seconds), ylim=(-1, 1), ylabel="waveform")
    shown = spectrum.imshow(mel, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, len(mel)))
    spectrum.set_ylabel("mel band")
    spectrum.figure.colorbar(shown, ax=spectrum, label="dB", pad=0.01)
    scaled = (mfcc - mfcc.mean(axis=1, keepdims=True)) / (mfcc.std(axis=1, keepdims=True) + 1e-6)
    cepstrum.imshow(
        scaled, origin="lower", aspect="auto", cmap="cividis", vmin=-3, vmax=3, extent=(0, seconds, 0, len(mfcc))
    )
    cepstrum.set(xlabel="seconds", ylabel="MFCC, standardised")
