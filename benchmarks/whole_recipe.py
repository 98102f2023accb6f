"""Measure the memory of baseline S3, audio and video, from an empty cache to its metrics.

    python benchmarks/whole_recipe.py

`experiment=baselines/s3_splines_hog3d_mlp` on the demo corpus. The original kept all histograms in one array.
Only on Linux.
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
    """Return the memory of a process in MB: private memory, and pages of files, which the system can reclaim."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return {kind: int(re.search(rf"{kind}:\s+(\d+)", status)[1]) / 1024 for kind in (OWN, OF_FILES)}


def peaks(command, environment):
    """Return the peak of each kind of memory in MB, and the duration in seconds."""
    began, most = time.monotonic(), {OWN: 0.0, OF_FILES: 0.0}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            now = resident(process)
        except (OSError, TypeError):  # the process has ended
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
            f"{' '.join(TYPED)}: {took:.0f} s, peak {whole[OWN]:.0f} MB of private memory, {libraries[OWN]:.0f} of "
            f"them libraries; and {whole[OF_FILES]:.0f} MB of pages of files, {libraries[OF_FILES]:.0f} of them "
            "libraries"
        )


if __name__ == "__main__":
    main()
