"""Measure how preparation scales: time and peak memory of N, 2N and 4N recordings.

    EMOTION_DATA=DIR python benchmarks/preparation.py

Audio of RAVDESS speech, and faces of the demo videos. Each preparation is a separate process with an empty cache.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {"audio": (360, 720, 1440), "faces": (32, 64, 128)}
VIDEOS = "EMOTION_BENCHMARK_VIDEOS"


def measured(kind, count):
    """Prepare `count` recordings in this process; print the duration in seconds, and memory before and after in MB."""
    from emotion.corpora.demo import Demo
    from emotion.corpora.ravdess import Ravdess
    from emotion.prepare.faces import FaceOptions, prepare_faces
    from emotion.prepare.waveforms import prepare_waveforms

    corpus = Ravdess() if kind == "audio" else Demo()
    directory = corpus.locate(os.environ["EMOTION_DATA"]) if kind == "audio" else Path(os.environ[VIDEOS])
    recordings = corpus.scan(directory, "speech").head(count)

    def prepare(rows):
        if kind == "audio":
            return prepare_waveforms(rows, directory, 16_000)
        return prepare_faces(rows, directory, FaceOptions())

    prepare(recordings.head(8))  # imports and loads everything once
    before, began = peak(), time.perf_counter()
    store = prepare(recordings)
    assert store.problems.empty
    print(time.perf_counter() - began, before, peak())


def peak():
    """Return the peak memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(kind):
    seconds, memory = [], []
    for count in SIZES[kind]:
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, __file__, kind, str(count)]
            result = subprocess.run(
                command, env=os.environ | {"EMOTION_CACHE": cache}, capture_output=True, text=True, check=True
            )
        took, before, after = map(float, result.stdout.split()[-3:])
        seconds.append(took)
        memory.append(after)
        print(f"{kind}, {count:,} recordings: {took:.1f} s, peak memory {after:.0f} MB, of which {before:.0f} before")
    growth = " and ".join(f"{later / seconds[0]:.2f}" for later in seconds[1:])
    print(
        f"{kind}: 2 and 4 times as many take {growth} times as long, and {memory[-1] / memory[0]:.2f} times the memory"
    )


def main():
    from emotion.corpora.demo import Demo

    demo = Demo()
    directory = demo.locate(None)
    demo.ensure_video(directory, demo.scan(directory, "speech")["recording"].head(max(SIZES["faces"])))
    os.environ[VIDEOS] = str(directory)
    for kind in SIZES:
        table(kind)


if __name__ == "__main__":
    measured(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 1 else main()
