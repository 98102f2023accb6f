"""Recordings of the same audio."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import fft

from emotion.checks.measures import Part, read_waveform

_MIN_SIMILARITY = 0.95  # cosine of fingerprints; takes of one sentence by one actor of RAVDESS reach 0.963
MIN_CORRELATION = 0.8
"""Correlation of two waveforms, shifted as they fit best, that are nearly the same audio."""
_MAX_RATIO = 1.3  # of durations, of recordings of a second or more


def same_audio(measures: pd.DataFrame) -> list[list[str]]:
    """Return groups of recordings whose samples at 16 kHz are equal.

    Args:
        measures: The fields of `Measures`, one row for each recording, with its key as the index.
    """
    groups = measures.index.to_series().groupby(measures["digest"].to_numpy()).apply(list)
    return [group for group in groups if len(group) > 1]


def similar_audio(
    measures: pd.DataFrame, paths: pd.Series, parts: Mapping[str, Part], directory: Path
) -> list[list[str]]:
    """Return groups of recordings of nearly the same audio, such as copies with another level, coding or sampling rate.

    Candidates have similar fingerprints; their waveforms are then compared. Equal samples are left out.

    Args:
        measures: See `same_audio`.
        paths: Path of each recording, relative to `directory`, with its key as the index.
        parts: Start and end, in seconds, of the recordings that are parts of files, by key.
        directory: Directory of the corpus.
    """
    names = measures.index.tolist()

    def waveform(row: int) -> np.ndarray:
        return read_waveform(directory / paths[names[row]], parts.get(names[row]))

    pairs = [pair for pair in _similar_pairs(measures) if _correlation(*map(waveform, pair)) >= MIN_CORRELATION]
    return _joined(pairs, names)


def _similar_pairs(measures: pd.DataFrame) -> list[tuple[int, int]]:
    """Return pairs of rows with similar fingerprints and durations, and different samples."""
    from sklearn.neighbors import NearestNeighbors

    if len(measures) < 2:
        return []
    prints = np.stack(measures["fingerprint"].to_list())
    radius = float(np.sqrt(2 - 2 * _MIN_SIMILARITY))
    near = NearestNeighbors(radius=radius).fit(prints).radius_neighbors(prints, return_distance=False)
    digests, durations = measures["digest"].to_numpy(), measures["duration_s"].to_numpy()
    return [
        (one, int(other))
        for one, others in enumerate(near)
        for other in others
        if one < other
        and digests[one] != digests[other]
        and prints[one].any()
        and max(durations[[one, other]]) <= _MAX_RATIO * min(durations[[one, other]]) + 1
    ]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest correlation of two waveforms over all shifts, in [0, 1]."""
    size = fft.next_fast_len(len(first) + len(second))
    spectra = [np.asarray(fft.rfft(waveform, size)) for waveform in (first, second)]
    product = np.asarray(fft.irfft(spectra[0] * spectra[1].conj(), size))
    return float(np.abs(product).max() / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-9))


def _joined(pairs: Sequence[tuple[int, int]], names: Sequence[str]) -> list[list[str]]:
    """Return the connected components of pairs, as names."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return []
    one, other = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs)), (one, other)), (len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    groups = pd.Series(list(names)).groupby(component).apply(list)
    return [group for group in groups if len(group) > 1]
