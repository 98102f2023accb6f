"""Compare `train.py` with nkululeko's MLP on eGeMAPS: RAVDESS speech, test actors 21-24, dev actors 16, 17, 19, 20.

    python -m venv VENV && VENV/bin/pip install nkululeko
    EMOTION_DATA=DIR python benchmarks/nkululeko_rival.py VENV/bin/python

Each starts from the files with an empty cache and selects its epoch on dev: ours of the 30 epochs of its recipe,
theirs of 60, with early stopping after 10. The time is that of the whole command, features and plots included.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from emotion.corpora.ravdess import Ravdess
from emotion.protocols import SPLITS, load

TRAIN = Path(__file__).parent.parent / "train.py"
EXPERIMENT = """[EXP]
root = {root}
name = fixed
runs = 1
epochs = 60
save = False
traindevtest = True
[DATA]
databases = {databases}
target = emotion
labels = {labels}
{parts}
[FEATS]
type = ['os']
scale = standard
[MODEL]
type = mlp
layers = {{'l1': 64, 'l2': 16}}
drop = 0.1
loss = cross
learning_rate = 0.001
patience = 10
"""


def run(command, **environment):
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
    return seconds, done.stdout + done.stderr


def theirs(python, folder):
    corpus = Ravdess()
    directory = corpus.locate(os.environ["EMOTION_DATA"])
    paths = corpus.scan(directory, "speech").set_index("recording")["audio"]
    table = load("ravdess", "fixed", 0, True).table
    table = table[table["recording"].isin(paths.index)]
    parts = []
    for split in SPLITS:
        own = table[table["split"] == split]
        files = [str(directory / paths[recording]) for recording in own["recording"]]
        own.assign(file=files)[["file", "speaker", "emotion"]].to_csv(folder / f"{split}.csv", index=False)
        parts += [f"{split} = {folder / split}.csv", f"{split}.type = csv", f"{split}.split_strategy = {split}"]
    labels = sorted(set(table["emotion"]))
    text = EXPERIMENT.format(root=f"{folder}/", databases=list(SPLITS), labels=labels, parts="\n".join(parts))
    (folder / "fixed.ini").write_text(text)
    seconds, output = run([python, "-m", "nkululeko.nkululeko", "--config", str(folder / "fixed.ini")])
    found = re.findall(r"Confusion matrix result.* UAR: (\d\.\d+)", output)  # the last one is of test
    return seconds, float(found[-1])


def ours(folder):
    command = [sys.executable, TRAIN, "experiment=mfcc_cnn_luna5", "protocol=fixed"]
    seconds, _ = run([*map(str, command), f"run_dir={folder}/run"], EMOTION_CACHE=f"{folder}/cache")
    return seconds, json.loads((folder / "run" / "metrics.json").read_text())["test/uar"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        their_seconds, their_uar = theirs(sys.argv[1], Path(folder))
        our_seconds, our_uar = ours(Path(folder))
    print(f"nkululeko, MLP on eGeMAPS: {their_seconds:.0f} s, UAR {their_uar:.3f}")
    print(
        f"train.py, mfcc_cnn: {our_seconds:.0f} s, UAR {our_uar:.3f}: {our_seconds / their_seconds:.2f} times as long"
    )


if __name__ == "__main__":
    main()
