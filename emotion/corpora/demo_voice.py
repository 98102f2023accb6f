"""The voices of the demo corpus: a sum of harmonics, weighted by the resonances of a vocal tract that moves from vowel
to vowel (source and filter; Fant, 1960), with noise for breath and consonants.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 48_000
CONTROL_RATE = 200  # pitch, formants and loudness are drawn this many times a second and interpolated between
HIGHEST_HARMONIC = 6_000.0  # Hz

# First three formants of an adult man in Hz, after Peterson & Barney (1952).
VOWELS = {
    "i": (390, 1990, 2550),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (490, 1350, 1690),
    "e": (530, 1840, 2480),
}
STATEMENTS = {"01": "iaoiaeo", "02": "oaiiaeo"}
"""Vowels of "Kids are talking by the door" and "Dogs are sitting by the door"."""


@dataclass(frozen=True)
class Manner:
    """How an emotion is spoken.

    Attributes:
        pitch: Above the actor's own, in semitones.
        span: From the highest to the lowest accent, in semitones.
        slope: From the first to the last syllable, in semitones.
        rate: Syllables relative to the neutral tempo.
        level: Of the voiced parts, in dB below full scale.
        tilt: Slope of the source's spectrum, in dB an octave.
        breath: Noise relative to the voice, as an amplitude.
        tremor: Of the pitch, in semitones.
    """

    pitch: float
    span: float
    slope: float
    rate: float
    level: float
    tilt: float
    breath: float
    tremor: float


MANNERS = {
    "01": Manner(0.0, 2.0, -1.5, 1.00, -32, -11, 0.04, 0.05),  # neutral
    "02": Manner(-0.7, 1.6, -1.5, 0.94, -34, -12, 0.06, 0.05),  # calm
    "03": Manner(4.5, 6.0, 0.5, 1.12, -26, -8, 0.03, 0.10),  # happy
    "04": Manner(1.0, 2.0, -3.5, 0.82, -35, -13, 0.14, 0.45),  # sad
    "05": Manner(2.5, 4.5, -4.0, 1.20, -21, -6, 0.05, 0.10),  # angry
    "06": Manner(2.2, 2.5, -2.5, 0.90, -33, -12, 0.16, 0.55),  # fearful
    "07": Manner(-2.5, 3.5, -5.0, 0.80, -28, -9, 0.10, 0.15),  # disgust
    "08": Manner(5.2, 6.8, 2.0, 1.08, -26, -8, 0.04, 0.10),  # surprised
}
SPREAD = Manner(1.1, 0.9, 1.3, 0.06, 1.8, 1.0, 0.03, 0.10)
"""Standard deviation from take to take: what makes the emotions overlap."""


@dataclass(frozen=True)
class Utterance:
    """A spoken take.

    Attributes:
        waveform: Shape (T,), float32, at `SAMPLE_RATE`.
        opening: How far the mouth is open at `CONTROL_RATE`, in [0, 1].
    """

    waveform: np.ndarray
    opening: np.ndarray


def generator(name: str) -> np.random.Generator:
    """Randomness that belongs to `name` alone, whatever was drawn before."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"demo:{name}".encode()).digest()[:8]))


def synthesise(take: str) -> Utterance:
    """Speak a take such as `01-05-01-02-01-07` (channel, emotion, intensity, statement, repetition, actor)."""
    _, emotion, _, statement, _, actor = take.split("-")
    actor_random, random = generator(f"voice of {actor}"), generator(f"voice in {take}")
    is_male = int(actor) % 2 == 1
    pitch = actor_random.uniform(95, 135) if is_male else actor_random.uniform(175, 235)
    tract = actor_random.uniform(0.94, 1.06) * (1.0 if is_male else 1.16)
    level = actor_random.normal(0, 1.0)

    target, spread = MANNERS[emotion], SPREAD
    manner = Manner(
        *(random.normal(mean, deviation) for mean, deviation in zip(_values(target), _values(spread), strict=True))
    )
    syllables = _syllables(STATEMENTS[statement], max(0.6, manner.rate), random)
    loudness, formants, accents, consonants = _contours(syllables, manner, random)

    semitones = manner.pitch + accents + _tremor(len(accents), manner.tremor, random)
    voice = _harmonics(pitch * 2 ** (semitones / 12), formants * tract, loudness, manner.tilt)
    noise = np.diff(random.normal(0, 1, len(voice) + 1)).astype(np.float32)
    voice = voice / (np.sqrt(np.mean(voice[voice != 0] ** 2)) + 1e-9)
    sound = voice + noise * (max(0.0, manner.breath) * _to_samples(loudness) + 0.25 * _to_samples(consonants))
    sound = sound * 10 ** ((manner.level + level) / 20) + random.normal(0, 1e-4, len(sound))
    return Utterance(np.clip(sound, -1, 1).astype(np.float32), loudness)


def _values(manner: Manner) -> tuple[float, ...]:
    return tuple(vars(manner).values())


def _syllables(vowels: str, rate: float, random: np.random.Generator) -> list[tuple[str, int]]:
    """Each vowel with its duration in control steps; the last is drawn out."""
    durations = 0.165 / rate * random.uniform(0.85, 1.15, len(vowels)) * np.linspace(0.95, 1.1, len(vowels))
    return [(vowel, max(8, round(seconds * CONTROL_RATE))) for vowel, seconds in zip(vowels, durations, strict=True)]


def _contours(
    syllables: list[tuple[str, int]], manner: Manner, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Loudness (C,), formants (C, 3), accents in semitones (C,) and consonant noise (C,) at the control rate."""
    silence = np.zeros(round(0.15 * CONTROL_RATE))
    loudness, formants, consonants = [silence], [np.tile(VOWELS[syllables[0][0]], (len(silence), 1))], [silence]
    for vowel, steps in syllables:
        position = np.linspace(0, 1, steps)
        loudness.append(np.sin(np.pi * position) ** 0.6 * random.uniform(0.8, 1.0))
        formants.append(np.tile(VOWELS[vowel], (steps, 1)))
        consonants.append(np.exp(-(((position - 0.04) / 0.05) ** 2)) * random.uniform(0.3, 1.0))
    loudness, consonants = np.concatenate([*loudness, silence]), np.concatenate([*consonants, silence])
    moving = np.concatenate([*formants, np.tile(VOWELS[syllables[-1][0]], (len(silence), 1))]).astype(float)
    glide = np.hanning(13) / np.hanning(13).sum()  # the tongue takes time
    moving = np.stack([np.convolve(np.pad(track, 6, mode="edge"), glide, "valid") for track in moving.T], axis=1)

    peaks = random.normal(0, 0.5, len(syllables))
    peaks[[0, 2, -1]] += (0.5, 0.3, -0.3)
    centres = np.cumsum([len(silence)] + [steps for _, steps in syllables])[:-1] + syllables[0][1] / 2
    time = np.arange(len(loudness))
    accents = manner.span * np.interp(time, centres, peaks) / 2 + manner.slope * (time / len(time) - 0.5)
    return loudness, moving, accents, consonants


def _tremor(steps: int, depth: float, random: np.random.Generator) -> np.ndarray:
    phase = 2 * np.pi * (5.5 * np.arange(steps) / CONTROL_RATE + random.uniform())
    return max(0.0, depth) * np.sin(phase)


def _harmonics(pitch: np.ndarray, formants: np.ndarray, loudness: np.ndarray, tilt: float) -> np.ndarray:
    """Sum the harmonics of `pitch` (Hz, at the control rate), each as strong as source and vocal tract make it."""
    number = np.arange(1, int(HIGHEST_HARMONIC / pitch.min()) + 1)
    frequency = number[:, None] * pitch
    amplitude = loudness * 10 ** (tilt * np.log2(number)[:, None] / 20)
    for formant, bandwidth in zip(formants.T, (80, 100, 140), strict=True):
        ratio = (frequency / formant) ** 2
        amplitude = amplitude / np.sqrt((1 - ratio) ** 2 + ratio * (bandwidth / formant) ** 2)
    amplitude = np.where(frequency < HIGHEST_HARMONIC, amplitude, 0)

    phase = 2 * np.pi * np.cumsum(_to_samples(pitch)) / SAMPLE_RATE
    steps = SAMPLE_RATE // CONTROL_RATE
    # Phases after Schroeder (1970) spread the energy of a period, so that loud voices do not clip.
    spread = np.pi * number**2 / len(number)
    blocks = np.sin((number[:, None] * phase + spread[:, None]).astype(np.float32)).reshape(len(number), -1, steps)
    later = np.arange(steps) / steps
    before = np.einsum("kc,kcs->cs", amplitude[:, :-1].astype(np.float32), blocks)
    after = np.einsum("kc,kcs->cs", amplitude[:, 1:].astype(np.float32), blocks)
    return (before * (1 - later) + after * later).ravel().astype(np.float32)


def _to_samples(control: np.ndarray) -> np.ndarray:
    """Interpolate from the control rate to the sample rate, one step short of the end."""
    steps = SAMPLE_RATE // CONTROL_RATE
    return np.interp(np.arange((len(control) - 1) * steps) / steps, np.arange(len(control)), control)
