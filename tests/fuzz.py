"""Coverage-guided fuzzing of all readers: python tests/fuzz.py [--runs 200000] [READER …]; needs `pip install atheris`.

Each reader runs in its own process. A reader fails at the first input that raises anything but an `EmotionError`, takes
longer than five seconds, or needs more than 1 GB beyond the memory of the imported libraries; the input is kept.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_SECONDS = 5
MAX_MEMORY_MB = 1024

# Readers that build a network for each input take ten times as long, so they get fewer inputs.
WEIGHTS = {"config.yaml": 0.2, "splits.csv": 0.1, "metrics.json": 0.1, "environment.json": 0.1, "overrides.yaml": 0.1}
WEIGHTS |= {"checkpoints/best.ckpt": 0.2, "exported model": 0.3, "frames of a video": 0.5, "estimator": 0.5}


def fuzz(name, runs, folder):
    """Fuzz one reader in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["emotion"], enable_loader_override=False):
        import emotion.corpora.folder
        import emotion.downloads.sources
        import emotion.hydra_cli.command_line
        import emotion.inference.networks
        import emotion.media.video
        import emotion.prepare.action_units  # noqa: F401
        from emotion.errors import EmotionError
    import resource
    import warnings

    from readers import READERS

    warnings.simplefilter("ignore")
    reader = READERS[name]
    inputs, corpus = folder / "inputs", folder / "seeds"
    inputs.mkdir(exist_ok=True)
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(reader.seeds(folder)):
        (corpus / str(number)).write_bytes(seed)
        (inputs / reader.name).write_bytes(seed)
        reader.read(inputs / reader.name)  # modules are imported and caches filled on first use

    def read(content):
        (inputs / reader.name).write_bytes(content)
        try:
            reader.read(inputs / reader.name)
        except EmotionError as error:
            assert "\n" not in str(error)

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    limits = [f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={used + MAX_MEMORY_MB}", f"-malloc_limit_mb={MAX_MEMORY_MB}"]
    options = [f"-runs={runs}", "-max_len=200000", "-len_control=0", "-verbosity=1", "-print_final_stats=1", "-seed=1"]
    atheris.Setup([sys.argv[0], *options, *limits, f"-artifact_prefix={folder}/", str(corpus)], read)
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER")
    parser.add_argument("--runs", type=int, default=200_000, help="Total number of inputs (default: 200000).")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument(
        "--folder", type=Path, help="Folder of inputs and findings, which is kept (default: a temporary folder)."
    )
    arguments = parser.parse_args()
    if arguments.one:
        fuzz(arguments.one, arguments.runs, arguments.folder)
        return
    from readers import READERS, material

    from emotion.config.compose import DIRECTORY

    root = arguments.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    run = root / "run"
    train = [sys.executable, DIRECTORY.parent / "train.py", "trainer.max_epochs=1", f"run_dir={run}"]
    if not run.exists():
        subprocess.run(list(map(str, train)), check=True, stdout=subprocess.DEVNULL)
    names = arguments.readers or list(READERS)
    total, failed = sum(WEIGHTS.get(name, 1) for name in names), []
    executions = 0
    for name in names:
        folder = root / re.sub(r"\W+", "-", name)
        if not folder.exists():
            folder.mkdir(parents=True)
            material(folder, run)
        runs = round(arguments.runs * WEIGHTS.get(name, 1) / total) + 1
        start = time.monotonic()
        command = [sys.executable, __file__, "--one", name, "--runs", str(runs), "--folder", str(folder)]
        with open(folder / "log.txt", "w") as log:
            status = subprocess.run(
                command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
            ).returncode
        text = (folder / "log.txt").read_text(errors="replace")
        stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", text))
        executions += int(stats.get("number_of_executed_units", 0))
        peak, done = stats.get("peak_rss_mb", "?"), int(stats.get("number_of_executed_units", 0))
        verdict = "passed" if status == 0 else f"FAILED, see {folder}"
        print(f"{name:20} {done:7,} inputs in {time.monotonic() - start:4.0f} s, peak {peak} MB: {verdict}", flush=True)
        failed += [name] * (status != 0)
    print(f"{executions:,} inputs, {len(failed)} readers failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
