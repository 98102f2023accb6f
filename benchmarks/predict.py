"""Predictions on people's own files: how fast, from when on, and in how much memory.

Usage: python benchmarks/predict.py RUN_OF_SOUND RUN_OF_SOUND_AND_FACE
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
from emotion.media.audio import read_audio
from emotion.media.video import read_pictures

MINUTE = 60
TAKES = [f"01-{emotion}-01-01-01-01" for emotion in ("01", "03", "05", "08")]


def film(path, minutes, clips, size=(1280, 720)):
    """The clips again and again, with their sound, at 15 frames a second."""
    frames = [picture.pixels() for clip in clips for picture in read_pictures(clip)]
    frames = [cv2.resize(frame, (size[1], size[1])) for frame in frames]
    sound = np.concatenate([read_audio(clip, 16_000) for clip in clips])
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
            samples = np.resize(np.roll(sound, -second * 16_000), 16_000)[None].astype(np.float32)
            heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = 16_000, second * 16_000, Fraction(1, 16_000)
            container.mux(audio.encode(heard))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def command(*arguments):
    return [sys.executable, "-m", "emotion.cli", "predict", *map(str, arguments)]


def peak_megabytes(*arguments):
    """Of a process of its own."""
    told = (
        "import resource, runpy, sys; sys.argv = ['emotion', 'predict', *sys.argv[1:]]\n"
        "runpy.run_module('emotion.cli', run_name='__main__')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    argv = [sys.executable, "-c", told, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1]) / 1024


def best(argv, times=3):
    return min(seconds_of(lambda: subprocess.run(argv, check=True, capture_output=True)) for _ in range(times))


def main(run_of_sound, run_of_both):
    corpus = Demo().locate(None)
    Demo().provide_video(corpus, [f"demo/{take}" for take in TAKES])
    clips = [corpus / "Actor_01" / f"01-{take}.mp4" for take in TAKES]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        short, hour = Path(folder) / "minute.mp4", Path(folder) / "hour.mp4"
        film(short, 1, clips)
        film(hour, 60, clips)
        talk = Path(folder) / "talk.wav"
        soundfile.write(talk, np.tile(read_audio(short, 16_000), 10), 16_000)

        heard, seen = Predictor.from_run(run_of_sound), Predictor.from_run(run_of_both)
        for predictor in (heard, seen):
            list(predictor.timeline(clips[0]))  # warm
        taken = seconds_of(lambda: list(heard.timeline(talk, hop=3)))
        print(f"sound, window by window: {10 * MINUTE / taken:.0f} times real time")
        taken = seconds_of(lambda: list(seen.timeline(short, hop=3)))
        print(f"sound and face at 1280×720: {MINUTE / taken:.1f} times real time")

        small = [peak_megabytes(short, "--run", run_of_both, "--hop", "3", "--timeline")]
        small += [peak_megabytes(hour, "--run", run_of_both, "--hop", "3", "--timeline")]
        print(f"peak memory: a minute {small[0]:.0f} MB, an hour {small[1]:.0f} MB: ratio {small[1] / small[0]:.2f}")

        clip = corpus / "Actor_01" / f"03-{TAKES[0]}.wav"
        answer = best(command(clip, "--run", run_of_sound))
        bare = best([sys.executable, "-c", "import torch"])
        print(f"start to answer {answer:.2f} s, import torch {bare:.2f} s: ratio {answer / bare:.2f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
