"""Kill training at random times, restart it, and compare the result with that of an uninterrupted run.

    python tests/random_kills.py --kills 50

Each round begins with an empty cache, so kills occur while the demo corpus is rendered, data are prepared, features are
computed, the model is trained or evaluated, and checkpoints are written. Training is restarted with the same command,
or with `resume=` after the first epoch.
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
    """One training, interrupted until it finishes."""

    def __init__(self, folder: Path) -> None:
        self.run_dir, self.cache = folder / "run", folder / "cache"
        folder.mkdir()

    @property
    def stage(self) -> str:
        """The last stage that was reached."""
        if (self.run_dir / "metrics.json").exists():
            return "finished"
        epochs = re.findall(r"epoch (\d+)/", self._log())
        if epochs:
            return "evaluation" if epochs[-1] == "25" else "training"
        if (self.cache / "features").is_dir():
            return "features"
        if (self.cache / "waveforms").is_dir():
            return "preparation"
        return "rendering" if self.cache.is_dir() else "imports"

    def start(self) -> subprocess.Popen:
        """Start the command, with `resume=` if there is a checkpoint."""
        has_checkpoint = (self.run_dir / "checkpoints" / "last.ckpt").exists()
        overrides = [f"resume={self.run_dir}"] if has_checkpoint else [*RECIPE, f"run_dir={self.run_dir}"]
        return subprocess.Popen(
            [sys.executable, str(TRAIN), *overrides],
            env=os.environ | {"EMOTION_CACHE": str(self.cache)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def result(self) -> tuple[dict, bytes]:
        """Return the metrics and predictions, which interruptions must not change."""
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
        raise SystemExit(f"training does not continue after a kill in {attempt.stage}: {errors}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, stages = random.Random(arguments.seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        uninterrupted = Round(Path(folder) / "uninterrupted")
        start = time.monotonic()
        finish(uninterrupted)
        duration, expected = time.monotonic() - start, uninterrupted.result()
        rounds = 0
        while stages.total() < arguments.kills:
            attempt, rounds = Round(Path(folder) / str(rounds)), rounds + 1
            # A round has several kills, so that resumed runs are killed too.
            for _ in range(min(rng.randint(1, 6), arguments.kills - stages.total())):
                process = attempt.start()
                try:
                    process.wait(rng.uniform(0, duration))
                    break  # it finished first
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    stages[attempt.stage] += 1
                    print(f"kill {stages.total()}: in {attempt.stage}", flush=True)
            if attempt.stage != "finished":
                finish(attempt)
            if attempt.result() != expected:
                raise SystemExit(f"round {rounds} differs from the uninterrupted run")
            shutil.rmtree(attempt.run_dir.parent)
    kills_by_stage = ", ".join(f"{count} in {stage}" for stage, count in stages.items())
    print(f"{stages.total()} kills in {rounds} rounds ({kills_by_stage}): results equal those of the uninterrupted run")


if __name__ == "__main__":
    main()
