"""Compare parallel jobs of a sweep on one machine with the same jobs in sequence.

EMOTION_DATA=DIR python benchmarks/side_by_side.py
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = Path(__file__).parent.parent / "train.py"
JOBS = ("data=ravdess", "test=false", "trainer.max_epochs=4")


def seconds(*arguments):
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, str(TRAIN), "-m", *JOBS, f"run_dir={folder}/sweep", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began


def main():
    cores = os.cpu_count()
    seconds("seed=0")  # prepares the corpus
    seeds = "seed=0,1,2,3"
    alone = seconds(seeds)
    print(f"4 jobs of 4 epochs in sequence: {alone:.1f} s, on {cores} cores each")
    together = seconds(seeds, "hydra/launcher=joblib", f"hydra.launcher.n_jobs={cores}")
    print(f"{cores} at a time: {together:.1f} s, {together / alone:.2f} times as long")


if __name__ == "__main__":
    main()
