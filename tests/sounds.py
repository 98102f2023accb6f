"""Synthetic sounds without speech: noise, music, machines, nature."""

from collections.abc import Iterator

import numpy as np
from scipy import signal

RATE = 16_000
SECONDS = 4.0
_N = int(RATE * SECONDS)
_TIME = np.arange(_N) / RATE
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11, 12])  # semitones


def sounds(seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Yield about a hundred sounds with their names, shape (T,), full scale [-1, 1]."""
    random = np.random.default_rng(seed)
    yield "silence", np.zeros(_N)
    yield "dither", random.standard_normal(_N) * 1e-4
    for name, exponent in (("white", 0), ("pink", 1), ("brown", 2), ("blue", -1)):
        for level in (0.02, 0.1, 0.5):
            yield f"{name} noise {level}", level * _noise(random, exponent)
    for low, high in ((300, 3400), (100, 800), (1000, 4000), (50, 250)):
        yield f"noise {low}-{high} Hz", _scaled(_band(random.standard_normal(_N), low, high))
    for frequency in (50, 100, 440, 1000, 3000):
        yield f"tone {frequency} Hz", 0.3 * np.sin(2 * np.pi * frequency * _TIME)
    for mains in (50, 60):
        yield f"hum {mains} Hz", _scaled(_harmonics(mains * _TIME, 10))
    yield "chirp", 0.3 * signal.chirp(_TIME, 100, SECONDS, 6000)
    yield "siren", 0.3 * np.sin(2 * np.pi * np.cumsum(700 + 300 * np.sin(np.pi * _TIME)) / RATE)
    yield "alarm", 0.3 * np.sin(2000 * np.pi * _TIME) * (np.sin(4 * np.pi * _TIME) > 0)
    yield "telephone", 0.3 * (np.sin(880 * np.pi * _TIME) + np.sin(960 * np.pi * _TIME)) * (_TIME % 3 < 1.5)
    for instrument in ("piano", "organ", "strings", "guitar", "flute", "synthesiser"):
        for voices in (1, 1, 2, 2, 3, 3):
            yield f"{instrument}, {voices} voices", _scaled(_melody(random, instrument, voices))
    for _ in range(3):
        yield "drums", _scaled(_drums(random))
        yield "band", _scaled(_melody(random, "guitar", 3) + _drums(random) + _melody(random, "synthesiser", 1))
    for drops in (50, 400, 2000, 8000):
        yield f"rain, {drops} drops a second", _scaled(_band(_impulses(random, drops), 500, 6000))
    for exponent in (1, 1.5, 2):
        gusts = 1 + 0.8 * np.sin(2 * np.pi * random.uniform(0.1, 0.4) * _TIME)
        yield "wind", _scaled(_noise(random, exponent) * gusts)
    for speed in (25, 40, 90):
        yield f"engine {speed} Hz", _scaled(_harmonics(speed * _TIME, 30) + 0.3 * random.standard_normal(_N))
    for clicks in (2, 4, 6, 10):
        decay = np.exp(-np.arange(800) / 120)
        yield f"{clicks} clicks a second", _scaled(np.convolve(_impulses(random, clicks), decay)[:_N])
    for rate in (3, 6, 9):
        strokes = 0.5 + 0.5 * signal.square(2 * np.pi * rate * _TIME, 0.3)
        yield "saw", _scaled(_band(random.standard_normal(_N) * strokes, 1000, 5000))


def _scaled(samples: np.ndarray, peak: float = 0.4) -> np.ndarray:
    return samples / np.abs(samples).max() * peak


def _noise(random: np.random.Generator, exponent: float) -> np.ndarray:
    """Return noise whose power falls with frequency to the power of `exponent`, with peak 1."""
    spectrum, frequency = np.fft.rfft(random.standard_normal(_N)), np.fft.rfftfreq(_N, 1 / RATE)
    frequency[0] = frequency[1]
    return _scaled(np.fft.irfft(spectrum * frequency ** (-exponent / 2), _N), 1.0)


def _band(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    return signal.sosfilt(signal.butter(2, [low, high], "band", fs=RATE, output="sos"), samples)


def _impulses(random: np.random.Generator, per_second: int) -> np.ndarray:
    samples = np.zeros(_N)
    places = random.integers(0, _N, int(per_second * SECONDS))
    samples[places] = random.standard_normal(len(places))
    return samples


def _harmonics(cycles: np.ndarray, count: int) -> np.ndarray:
    return sum((np.sin(2 * np.pi * number * cycles) / number for number in range(1, count + 1)), np.zeros(len(cycles)))


def _melody(random: np.random.Generator, instrument: str, voices: int) -> np.ndarray:
    """Return random notes of a major scale in two octaves, one after the other, in several voices."""
    samples = np.zeros(_N)
    for _ in range(voices):
        start = 0
        while start < _N:
            length = min(int(RATE * random.choice([0.2, 0.3, 0.4, 0.6])), _N - start)
            pitch = 220 * 2 ** ((random.choice(_SCALE) + 12 * random.integers(0, 2)) / 12)
            samples[start : start + length] += _note(random, instrument, pitch, length)
            start += length
    return samples


def _note(random: np.random.Generator, instrument: str, pitch: float, length: int) -> np.ndarray:
    time = np.arange(length) / RATE
    swell = np.minimum(1, np.minimum(time, length / RATE - time) * 10)
    if instrument == "piano":
        partials = [
            np.sin(2 * np.pi * pitch * k * time * np.sqrt(1 + 4e-4 * k * k)) * np.exp(-time * (2 + 0.9 * k)) / k**1.3
            for k in range(1, 9)
        ]
        return np.sum(partials, axis=0)
    if instrument == "organ":
        return swell * np.sum([np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3, 4, 6, 8)], axis=0)
    if instrument == "strings":
        return swell * _harmonics(np.cumsum(pitch * (1 + 0.005 * np.sin(35 * time))) / RATE, 11)
    if instrument == "guitar":
        string, plucked = random.uniform(-1, 1, int(RATE / pitch)), []
        for _ in range(length // len(string) + 1):
            plucked.append(string)
            string = 0.498 * (string + np.roll(string, 1))
        return np.concatenate(plucked)[:length]
    if instrument == "flute":
        breath = 0.03 * random.standard_normal(length)
        return swell * (np.sin(2 * np.pi * pitch * time) + 0.15 * np.sin(4 * np.pi * pitch * time) + breath)
    return signal.sawtooth(2 * np.pi * pitch * time) * np.exp(-1.5 * time)


def _drums(random: np.random.Generator) -> np.ndarray:
    beat = RATE // 4
    time, samples = np.arange(beat) / RATE, np.zeros(_N)
    for start in range(0, _N - beat + 1, beat):
        kick = np.sin(120 * np.pi * np.exp(-8 * time) * time) * np.exp(-12 * time)
        snare, cymbal = random.standard_normal(beat) * np.exp(-30 * time), random.standard_normal(beat)
        samples[start : start + beat] += (kick, snare, np.diff(cymbal, prepend=0) * np.exp(-60 * time))[
            random.integers(3)
        ]
    return samples
