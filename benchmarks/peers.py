"""Train what others use on the folds of luna5, RAVDESS speech, and write results/peers.csv.

    python -m venv VENV && VENV/bin/pip install nkululeko
    EMOTION_DATA=DIR python benchmarks/peers.py VENV/bin/python

nkululeko extracts its own features (eGeMAPS by openSMILE) and trains its SVM and its XGBoost with their default
settings on train and dev, since neither selects anything on dev. The plain scikit-learn pipeline standardises the same
features and chooses the C of an SVM by cross-validation over the speakers of train and dev. Both are tested once.
"""

import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import opensmile
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, recall_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from emotion.corpora.ravdess import Ravdess
from emotion.protocols import load
from emotion.statistics.intervals import speaker_jackknife_ci

OUTPUT = Path(__file__).parents[1] / "results" / "peers.csv"
FOLDS = range(5)
EXPERIMENT = """[EXP]
root = {root}/
name = peer
runs = 1
epochs = 1
[DATA]
databases = ['train', 'test']
target = emotion
labels = {labels}
train = {root}/train.csv
train.type = csv
train.split_strategy = train
test = {root}/test.csv
test.type = csv
test.split_strategy = test
[FEATS]
type = ['os']
scale = standard
[MODEL]
type = {model}
"""


def splits(fold):
    """Return train with dev, and test, of a fold: columns file, speaker and emotion."""
    corpus = Ravdess()
    directory = corpus.locate(os.environ["EMOTION_DATA"])
    paths = corpus.scan(directory, "speech").set_index("recording")["audio"]
    table = load("ravdess", "luna5", fold, True).table
    table = table[table["recording"].isin(paths.index)]
    table = table.assign(file=[str(directory / paths[recording]) for recording in table["recording"]])
    columns = ["file", "speaker", "emotion"]
    return table.loc[table["split"] != "test", columns], table.loc[table["split"] == "test", columns]


def nkululeko(python, model, train, test):
    """Return the emotions that one of its models predicts, by file."""
    with tempfile.TemporaryDirectory() as folder:
        train.to_csv(f"{folder}/train.csv", index=False)
        test.to_csv(f"{folder}/test.csv", index=False)
        config = Path(folder, "peer.ini")
        config.write_text(EXPERIMENT.format(root=folder, model=model, labels=sorted(set(train["emotion"]))))
        command = [python, "-m", "nkululeko.nkululeko", "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
        (found,) = Path(folder, "peer").rglob("pred_emotion_*.csv")
        return pd.read_csv(found).set_index("file")["predicted"]


def functionals(files):
    """Return the eGeMAPS functionals of each file."""
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals, num_workers=2)
    return smile.process_files(files).droplevel(["start", "end"])


def scikit_learn(features, train, test):
    """Return the emotions that an SVM predicts, by file."""
    pipeline = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(pipeline, {"svc__C": [0.1, 1, 10, 100]}, scoring="recall_macro", cv=GroupKFold(4))
    search.fit(features.loc[train["file"]].to_numpy(), train["emotion"], groups=train["speaker"])
    return pd.Series(search.predict(features.loc[test["file"]].to_numpy()), index=test["file"])


def row(system, versions, predictions, minutes):
    """Return the metrics of the pooled predictions of all folds: columns emotion, predicted and speaker."""
    interval = speaker_jackknife_ci(
        [predictions], lambda rows: recall_score(rows["emotion"], rows["predicted"], average="macro")
    )
    truth, predicted = predictions["emotion"], predictions["predicted"]
    figures = {
        "uar": interval.value,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "accuracy": accuracy_score(truth, predicted),
        "macro_f1": f1_score(truth, predicted, average="macro"),
        "minutes_per_fold": minutes / len(FOLDS),
    }
    return {"system": system, "versions": versions} | {name: round(value, 4) for name, value in figures.items()}


def main(python):
    folds = [splits(fold) for fold in FOLDS]
    features = functionals([file for _, test in folds for file in test["file"]])
    known = f"nkululeko {version_in(python, 'nkululeko')}"
    plain = f"scikit-learn {version('scikit-learn')}, opensmile {version('opensmile')}"
    systems = {
        "nkululeko, eGeMAPS, SVM": (known, lambda *fold: nkululeko(python, "svm", *fold)),
        "nkululeko, eGeMAPS, XGBoost": (known, lambda *fold: nkululeko(python, "xgb", *fold)),
        "scikit-learn, eGeMAPS, SVM": (plain, lambda *fold: scikit_learn(features, *fold)),
    }
    rows = []
    for name, (versions, predict) in systems.items():
        began = time.perf_counter()
        predicted = [test.assign(predicted=test["file"].map(predict(train, test))) for train, test in folds]
        rows.append(row(name, versions, pd.concat(predicted), (time.perf_counter() - began) / 60))
        print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(OUTPUT, index=False, lineterminator="\n")


def version_in(python, package):
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1])
