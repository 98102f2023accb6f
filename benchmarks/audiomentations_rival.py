"""Compare augmentations of audio with audiomentations and torch-audiomentations, on 32 recordings of RAVDESS speech.

    python -m pip install audiomentations torch-audiomentations
    EMOTION_DATA=DIR python benchmarks/audiomentations_rival.py

Every recording is changed. audiomentations changes one recording at a time, the others a batch. Ours marked with *
change power spectra, which features need in any case; computing them is not counted, its time is in the second line.
torch-audiomentations 0.12 reads files by `torchaudio.info`, which torchaudio 2.9 removed: no voices and reverberation.
"""

import os
import statistics
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from emotion.augment import channel, codec, waveform
from emotion.augment.base import SpectrumAugmentation
from emotion.media.audio import read_audio, write_wav

PACKAGES = ("torch", "audiomentations", "torch-audiomentations")
RATE, N_RECORDINGS, ROUNDS = 16_000, 32, 5
ALWAYS = {"probability": 1.0}


def main():
    files = sorted(Path(os.environ["EMOTION_DATA"]).glob("ravdess/Audio_Speech_Actors_01-24/**/*.flac"))
    signals = [read_audio(file, RATE) for file in files[:: len(files) // N_RECORDINGS][:N_RECORDINGS]]
    length = torch.tensor([len(signal) for signal in signals])
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(signal) for signal in signals], batch_first=True)
    print(f"{torch.get_num_threads()} threads, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}")
    began = time.perf_counter()
    power = torch.stft(padded, 2048, 512, window=torch.hann_window(2048), return_complex=True).abs().square()
    taken = 1000 * (time.perf_counter() - began)
    print(f"power spectra of {len(signals)} recordings, {length.sum() / RATE:.0f} s in all: {taken:.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        response = np.random.default_rng(0).standard_normal(RATE // 2) * np.exp(-np.arange(RATE // 2) / 1000)
        write_wav(Path(folder, "response.wav"), 0.1 * response, RATE)
        voices = [f"{folder}/voice{number}.wav" for number in range(4)]
        for voice, signal in zip(voices, signals, strict=False):
            write_wav(Path(voice), signal, RATE)
        for name, ours, of_clips, of_batches in kinds(f"{folder}/response.wav", voices):
            given = (power,) if isinstance(ours, SpectrumAugmentation) else (padded, length)
            works = {
                "ours": partial(ours, *given),
                "audiomentations": partial(one_by_one, of_clips, signals),
                "torch-audiomentations": of_batches and partial(of_batches, padded[:, None], sample_rate=RATE),
            }
            print(f"{name}: {compare({rival: work for rival, work in works.items() if work})}", flush=True)


def compare(works):
    """Return in words the median time of ours, and the median ratio of each rival to it."""
    rounds = [{name: milliseconds(work) for name, work in works.items()} for _ in range(ROUNDS)]
    ratios = {name: statistics.median(one[name] / one["ours"] for one in rounds) for name in works if name != "ours"}
    words = [f"{name} {ratio:.1f} times as long" for name, ratio in ratios.items()]
    return ", ".join([f"ours {statistics.median(one['ours'] for one in rounds):.1f} ms", *words])


def one_by_one(augmentation, signals):
    for signal in signals:
        augmentation(signal, RATE)


def kinds(response, voices):
    """Return the name of each kind, ours, that of audiomentations, and that of torch-audiomentations, or None."""
    import audiomentations as clips
    import torch_audiomentations as batches

    torch_options = {"p": 1.0, "sample_rate": RATE, "output_type": "tensor"}
    return [
        ("gain", waveform.Gain(**ALWAYS), clips.Gain(p=1.0), batches.Gain(**torch_options)),
        ("white noise", waveform.Noise(**ALWAYS), clips.AddGaussianSNR(p=1.0), None),
        ("clipping", waveform.Clipping(**ALWAYS), clips.ClippingDistortion(p=1.0), None),
        (
            "shift in time",
            waveform.TimeShift(RATE, **ALWAYS),
            clips.Shift(-0.2, 0.2, "seconds", rollover=False, p=1.0),
            batches.Shift(-0.2, 0.2, "seconds", rollover=False, **torch_options),
        ),
        (
            "pitch",
            waveform.PitchShift(**ALWAYS),
            clips.PitchShift(-2, 2, p=1.0),
            batches.PitchShift(-2, 2, **torch_options),
        ),
        (
            "speed (audiomentations: tempo without pitch)",
            waveform.Speed(**ALWAYS),
            clips.TimeStretch(0.9, 1.1, leave_length_unchanged=False, p=1.0),
            None,
        ),
        ("MP3", codec.Codec(RATE, ("mp3",), **ALWAYS), clips.Mp3Compression(p=1.0), None),
        (
            "noise with a sloped spectrum*",
            channel.ColoredNoise(RATE, **ALWAYS),
            clips.AddColorNoise(p=1.0),
            batches.AddColoredNoise(**torch_options),
        ),
        (
            "voices*",
            channel.Babble(**ALWAYS),
            clips.AddBackgroundNoise(voices, p=1.0),
            None,
        ),
        (
            "reverberation*",
            channel.Reverberation(RATE, **ALWAYS),
            clips.ApplyImpulseResponse(response, p=1.0),
            None,
        ),
        (
            "band limits*",
            channel.BandLimit(RATE, **ALWAYS),
            clips.BandPassFilter(p=1.0),
            batches.BandPassFilter(**torch_options),
        ),
        ("equaliser*", channel.Equalizer(RATE, **ALWAYS), clips.SevenBandParametricEQ(p=1.0), None),
    ]


def milliseconds(work):
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
