"""Measure the memory of baseline S3, audio and video, from an empty cache to its metrics.

    python benchmarks/whole_recipe.py

`experiment=baselines/s3_splines_hog3d_mlp` on the demo corpus; its authors held every histogram in one array. On Linux.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TRAIN = Path(__file__).parent.parent / "train.py"
LIBRARIES = "import emotion.pipelines.train, sklearn.neural_network, skops.io, tensorly"
TYPED = ("experiment=baselines/s3_splines_hog3d_mlp", "data=demo", "protocol=actor6")
OWN, OF_FILES = "RssAnon", "RssFile"


def resident(process):
    """MB that a process holds: its own memory, and pages of files, which the system takes back when it needs them."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return {kind: int(re.search(rf"{kind}:\s+(\d+)", status)[1]) / 1024 for kind in (OWN, OF_FILES)}


def peaks(command, environment):
    """The most of either kind, in MB, and how long it took."""
    began, most = time.monotonic(), {OWN: 0.0, OF_FILES: 0.0}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            now = resident(process)
        except (OSError, TypeError):  # it is at its end
            break
        most = {kind: max(most[kind], now[kind]) for kind in most}
        time.sleep(0.02)
    if process.wait():
        raise SystemExit(process.returncode)
    return most, time.monotonic() - began


def main():
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"EMOTION_CACHE": f"{folder}/cache"}
        libraries, _ = peaks([sys.executable, "-c", LIBRARIES], environment)
        whole, took = peaks([sys.executable, str(TRAIN), *TYPED, f"run_dir={folder}/run"], environment)
        print(
            f"{' '.join(TYPED)}: {took:.0f} s, at most {whole[OWN]:.0f} MB of its own, {libraries[OWN]:.0f} of them "
            f"libraries; and {whole[OF_FILES]:.0f} MB of pages of files, {libraries[OF_FILES]:.0f} of them libraries"
        )


if __name__ == "__main__":
    main()
