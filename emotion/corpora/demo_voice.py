"""The voices of the demo corpus: source-filter synthesis (Fant, 1960) of a sum of harmonics, weighted by formants that
move from vowel to vowel, with noise for breath and consonants.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 48_000
CONTROL_RATE = 200  # Hz, of pitch, formants and loudness, which are interpolated
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
"""The vowels of "Kids are talking by the door" and "Dogs are sitting by the door"."""


@dataclass(frozen=True)
class SpeakingStyle:
    """Prosody and voice quality of an emotion.

    Attributes:
        pitch: Pitch relative to that of the actor, in semitones.
        span: Pitch range of the accents, in semitones.
        slope: Change of pitch from the first to the last syllable, in semitones.
        rate: Speaking rate relative to neutral speech.
        level: Level of voiced parts, in dB relative to full scale.
        tilt: Spectral tilt of the source, in dB per octave.
        breath: Amplitude of noise relative to the voice.
        tremor: Amplitude of the vibrato, in semitones.
    """

    pitch: float
    span: float
    slope: float
    rate: float
    level: float
    tilt: float
    breath: float
    tremor: float


SPEAKING_STYLES = {
    "01": SpeakingStyle(0.0, 2.0, -1.5, 1.00, -32, -11, 0.04, 0.05),  # neutral
    "02": SpeakingStyle(-0.7, 1.6, -1.5, 0.94, -34, -12, 0.06, 0.05),  # calm
    "03": SpeakingStyle(4.5, 6.0, 0.5, 1.12, -26, -8, 0.03, 0.10),  # happy
    "04": SpeakingStyle(1.0, 2.0, -3.5, 0.82, -35, -13, 0.14, 0.45),  # sad
    "05": SpeakingStyle(2.5, 4.5, -4.0, 1.20, -21, -6, 0.05, 0.10),  # angry
    "06": SpeakingStyle(2.2, 2.5, -2.5, 0.90, -33, -12, 0.16, 0.55),  # fearful
    "07": SpeakingStyle(-2.5, 3.5, -5.0, 0.80, -28, -9, 0.10, 0.15),  # disgust
    "08": SpeakingStyle(5.2, 6.8, 2.0, 1.08, -26, -8, 0.04, 0.10),  # surprised
}
VARIATION = SpeakingStyle(1.1, 0.9, 1.3, 0.06, 1.8, 1.0, 0.03, 0.10)
"""Standard deviation between takes, by which the emotions overlap."""


@dataclass(frozen=True)
class Utterance:
    """The audio of a take.

    Attributes:
        waveform: Waveform, shape (T,), float32, at `SAMPLE_RATE`.
        opening: Opening of the mouth at `CONTROL_RATE`, in [0, 1].
    """

    waveform: np.ndarray
    opening: np.ndarray


def generator(name: str) -> np.random.Generator:
    """Return a generator whose seed is derived from a name."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"demo:{name}".encode()).digest()[:8]))


def synthesise(take: str) -> Utterance:
    """Synthesise a take such as `01-05-01-02-01-07` (channel, emotion, intensity, statement, repetition, actor)."""
    _, emotion, _, statement, _, actor = take.split("-")
    actor_random, random = generator(f"voice of {actor}"), generator(f"voice in {take}")
    is_male = int(actor) % 2 == 1
    pitch = actor_random.uniform(95, 135) if is_male else actor_random.uniform(175, 235)
    tract = actor_random.uniform(0.94, 1.06) * (1.0 if is_male else 1.16)
    level = actor_random.normal(0, 1.0)

    means, stds = _values(SPEAKING_STYLES[emotion]), _values(VARIATION)
    style = SpeakingStyle(*(random.normal(mean, std) for mean, std in zip(means, stds, strict=True)))
    syllables = _syllables(STATEMENTS[statement], max(0.6, style.rate), random)
    loudness, formants, accents, consonants = _contours(syllables, style, random)

    semitones = style.pitch + accents + _tremor(len(accents), style.tremor, random)
    voice = _harmonics(pitch * 2 ** (semitones / 12), formants * tract, loudness, style.tilt)
    noise = np.diff(random.normal(0, 1, len(voice) + 1)).astype(np.float32)
    voice = voice / (np.sqrt(np.mean(voice[voice != 0] ** 2)) + 1e-9)
    speech = voice + noise * (max(0.0, style.breath) * _to_samples(loudness) + 0.25 * _to_samples(consonants))
    speech = speech * 10 ** ((style.level + level) / 20) + random.normal(0, 1e-4, len(speech))
    return Utterance(np.clip(speech, -1, 1).astype(np.float32), loudness)


def _values(style: SpeakingStyle) -> tuple[float, ...]:
    return tuple(vars(style).values())


def _syllables(vowels: str, rate: float, random: np.random.Generator) -> list[tuple[str, int]]:
    """Return each vowel with its duration in control steps; later ones are longer."""
    durations = 0.165 / rate * random.uniform(0.85, 1.15, len(vowels)) * np.linspace(0.95, 1.1, len(vowels))
    return [(vowel, max(8, round(seconds * CONTROL_RATE))) for vowel, seconds in zip(vowels, durations, strict=True)]


def _contours(
    syllables: list[tuple[str, int]], style: SpeakingStyle, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return loudness (C,), formants (C, 3), accents in semitones (C,) and consonant noise (C,) at the control rate."""
    silence = np.zeros(round(0.15 * CONTROL_RATE))
    loudness, formants, consonants = [silence], [np.tile(VOWELS[syllables[0][0]], (len(silence), 1))], [silence]
    for vowel, steps in syllables:
        position = np.linspace(0, 1, steps)
        loudness.append(np.sin(np.pi * position) ** 0.6 * random.uniform(0.8, 1.0))
        formants.append(np.tile(VOWELS[vowel], (steps, 1)))
        consonants.append(np.exp(-(((position - 0.04) / 0.05) ** 2)) * random.uniform(0.3, 1.0))
    loudness, consonants = np.concatenate([*loudness, silence]), np.concatenate([*consonants, silence])
    moving = np.concatenate([*formants, np.tile(VOWELS[syllables[-1][0]], (len(silence), 1))]).astype(float)
    glide = np.hanning(13) / np.hanning(13).sum()  # articulation is not instantaneous
    moving = np.stack([np.convolve(np.pad(track, 6, mode="edge"), glide, "valid") for track in moving.T], axis=1)

    peaks = random.normal(0, 0.5, len(syllables))
    peaks[[0, 2, -1]] += (0.5, 0.3, -0.3)
    centres = np.cumsum([len(silence)] + [steps for _, steps in syllables])[:-1] + syllables[0][1] / 2
    time = np.arange(len(loudness))
    accents = style.span * np.interp(time, centres, peaks) / 2 + style.slope * (time / len(time) - 0.5)
    return loudness, moving, accents, consonants


def _tremor(steps: int, depth: float, random: np.random.Generator) -> np.ndarray:
    phase = 2 * np.pi * (5.5 * np.arange(steps) / CONTROL_RATE + random.uniform())
    return max(0.0, depth) * np.sin(phase)


def _harmonics(pitch: np.ndarray, formants: np.ndarray, loudness: np.ndarray, tilt: float) -> np.ndarray:
    """Return the sum of the harmonics of a pitch contour, in Hz at the control rate, weighted by source and filter."""
    number = np.arange(1, int(HIGHEST_HARMONIC / pitch.min()) + 1)
    frequency = number[:, None] * pitch
    amplitude = loudness * 10 ** (tilt * np.log2(number)[:, None] / 20)
    for formant, bandwidth in zip(formants.T, (80, 100, 140), strict=True):
        ratio = (frequency / formant) ** 2
        amplitude = amplitude / np.sqrt((1 - ratio) ** 2 + ratio * (bandwidth / formant) ** 2)
    amplitude = np.where(frequency < HIGHEST_HARMONIC, amplitude, 0)

    phase = 2 * np.pi * np.cumsum(_to_samples(pitch)) / SAMPLE_RATE
    steps = SAMPLE_RATE // CONTROL_RATE
    # Phases after Schroeder (1970) distribute the energy over a period, so that loud voices do not clip.
    offsets = np.pi * number**2 / len(number)
    blocks = np.sin((number[:, None] * phase + offsets[:, None]).astype(np.float32)).reshape(len(number), -1, steps)
    later = np.arange(steps) / steps
    before = np.einsum("kc,kcs->cs", amplitude[:, :-1].astype(np.float32), blocks)
    after = np.einsum("kc,kcs->cs", amplitude[:, 1:].astype(np.float32), blocks)
    return (before * (1 - later) + after * later).ravel().astype(np.float32)


def _to_samples(control: np.ndarray) -> np.ndarray:
    """Interpolate from the control rate to the sampling rate, without the last control step."""
    steps = SAMPLE_RATE // CONTROL_RATE
    return np.interp(np.arange((len(control) - 1) * steps) / steps, np.arange(len(control)), control)
