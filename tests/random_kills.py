"""Kill training at random moments, start it again, and compare what comes of it with a run that nothing interrupted.

    python tests/random_kills.py --kills 50

Each round begins with an empty cache, so kills fall into rendering the demo corpus, preparation, features, training,
checkpoints and judging alike. The same command is given again; once an epoch was finished, `resume=`.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TRAIN = Path(__file__).parent.parent / "train.py"
RECIPE = (
    "model.backbone.channels=[8,8,8,8]",
    "trainer.max_epochs=25",
    "optimizer.lr=0.005",
    "augment=[noise,spec_augment]",
)


class Round:
    """One training, which is interrupted until it gets through."""

    def __init__(self, folder: Path) -> None:
        self.run_dir, self.cache = folder / "run", folder / "cache"
        folder.mkdir()

    @property
    def stage(self) -> str:
        """How far it has come."""
        if (self.run_dir / "metrics.json").exists():
            return "finished"
        epochs = re.findall(r"epoch (\d+)/", self._log())
        if epochs:
            return "judging" if epochs[-1] == "25" else "training"
        if (self.cache / "features").is_dir():
            return "features"
        if (self.cache / "waveforms").is_dir():
            return "preparation"
        return "rendering" if self.cache.is_dir() else "imports"

    def start(self) -> subprocess.Popen:
        """The same command, or `resume=` once that can be."""
        begun = (self.run_dir / "checkpoints" / "last.ckpt").exists()
        typed = [f"resume={self.run_dir}"] if begun else [*RECIPE, f"run_dir={self.run_dir}"]
        return subprocess.Popen(
            [sys.executable, str(TRAIN), *typed],
            env=os.environ | {"EMOTION_CACHE": str(self.cache)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def result(self) -> tuple[dict, bytes]:
        """What has to be the same."""
        metrics = json.loads((self.run_dir / "metrics.json").read_text())
        del metrics["fit_seconds"]
        return metrics, (self.run_dir / "predictions.csv").read_bytes()

    def _log(self) -> str:
        path = self.run_dir / "train.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""


def finish(attempt: Round) -> None:
    process = attempt.start()
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        raise SystemExit(f"it does not go on after a kill in {attempt.stage}: {errors}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance, stages = random.Random(arguments.seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = Round(Path(folder) / "whole")
        began = time.monotonic()
        finish(whole)
        duration, expected = time.monotonic() - began, whole.result()
        rounds = 0
        while stages.total() < arguments.kills:
            attempt, rounds = Round(Path(folder) / str(rounds)), rounds + 1
            # Several in each round, so that what was interrupted is interrupted again.
            for _ in range(min(chance.randint(1, 6), arguments.kills - stages.total())):
                process = attempt.start()
                try:
                    process.wait(chance.uniform(0, duration))
                    break  # it got through before
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    stages[attempt.stage] += 1
                    print(f"kill {stages.total()}: in {attempt.stage}", flush=True)
            if attempt.stage != "finished":
                finish(attempt)
            if attempt.result() != expected:
                raise SystemExit(f"round {rounds} differs from the run that nothing interrupted")
            shutil.rmtree(attempt.run_dir.parent)
    where = ", ".join(f"{count} in {stage}" for stage, count in stages.items())
    print(f"{stages.total()} kills in {rounds} rounds ({where}): every result as if nothing had happened")


if __name__ == "__main__":
    main()
