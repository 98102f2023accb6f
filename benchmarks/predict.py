"""Measure `emotion predict`: speed, start-up time, and peak memory.

It uses the shipped model. Usage: python benchmarks/predict.py
"""

import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile
import torch

from emotion.corpora.demo import Demo
from emotion.inference import Predictor
from emotion.inference.shipped import DIRECTORY
from emotion.media.audio import read_audio
from emotion.media.video import read_frames

MINUTE = 60
TAKES = [f"01-{emotion}-01-01-01-01" for emotion in ("01", "03", "05", "08")]


def film(path, minutes, clips, size):
    """Write a film that repeats clips, with audio, at 15 frames a second."""
    frames = [frame.pixels() for clip in clips for frame in read_frames(clip)]
    frames = [cv2.resize(frame, (size[1], size[1])) for frame in frames]
    waveform = np.concatenate([read_audio(clip, 16_000) for clip in clips])
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=15, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = container.add_stream("aac", rate=16_000, layout="mono", options={"aac_coder": "fast"})
        whole = np.zeros((size[1], size[0], 3), np.uint8)
        for second in range(minutes * MINUTE):
            for number in range(second * 15, second * 15 + 15):
                whole[:, : size[1]] = frames[number % len(frames)]
                frame = av.VideoFrame.from_ndarray(whole, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 15)
                container.mux(video.encode(frame))
            samples = np.resize(np.roll(waveform, -second * 16_000), 16_000)[None].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, second * 16_000, Fraction(1, 16_000)
            container.mux(audio.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def command(*arguments):
    return [sys.executable, "-m", "emotion.cli", "predict", *map(str, arguments)]


def peak_megabytes(*arguments):
    """Return the peak memory of a separate process, in MB."""
    program = (
        "import resource, runpy, sys; sys.argv = ['emotion', 'predict', *sys.argv[1:]]\n"
        "runpy.run_module('emotion.cli', run_name='__main__')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    argv = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1]) / 1024


def best(argv, times=3):
    return min(seconds_of(lambda: subprocess.run(argv, check=True, capture_output=True)) for _ in range(times))


def main():
    corpus = Demo().locate(None)
    Demo().ensure_video(corpus, [f"demo/{take}" for take in TAKES])
    clips = [corpus / "Actor_01" / f"01-{take}.mp4" for take in TAKES]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        film(folder / "wide.mp4", 1, clips, (1280, 720))
        talk = folder / "talk.wav"
        soundfile.write(talk, np.tile(read_audio(folder / "wide.mp4", 16_000), 10), 16_000)
        both, audio = Predictor.shipped(), Predictor.from_run(DIRECTORY / "audio")
        for predictor in (both, audio):
            list(predictor.timeline(clips[0]))  # warm-up
        taken = seconds_of(lambda: list(audio.timeline(talk, hop=3)))
        print(f"audio, window by window: {10 * MINUTE / taken:.0f} times real time", flush=True)
        taken = seconds_of(lambda: list(both.timeline(folder / "wide.mp4", hop=3)))
        print(f"audio and face at 1280×720, 15 frames a second: {MINUTE / taken:.1f} times real time", flush=True)

        bare = best([sys.executable, "-c", "import torch"])
        clip = corpus / "Actor_01" / f"03-{TAKES[0]}.wav"
        for name, model in (("torch", ("--run", DIRECTORY / "audio")), ("ONNX", ())):
            whole = best(command(clip, *model))
            print(f"time to prediction with {name} {whole:.2f} s, import torch {bare:.2f} s: ratio {whole / bare:.2f}")

        peaks = []
        for minutes in (1, 60):
            film(folder / "long.mp4", minutes, clips, (480, 270))
            peaks.append(peak_megabytes(folder / "long.mp4", "--hop", "3", "--timeline"))
        print(f"peak memory: a minute {peaks[0]:.0f} MB, an hour {peaks[1]:.0f} MB: ratio {peaks[1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
