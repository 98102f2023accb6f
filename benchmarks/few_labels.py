"""Measure what a few labels of a new corpus are worth: features of a model that has not met it, eGeMAPS, and both.

Usage: python benchmarks/few_labels.py RUN... --output results/few_labels.csv, with runs of unseen_corpora/whisper.

For each number of clips per emotion, five draws from half of the speakers are fitted, and the other half is tested.
ASED has other sentences for each emotion; its rows `other speakers and sentences` test sentences without labels.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emotion import runs
from emotion.composition import datamodule_of, load_classifier
from emotion.features.opensmile import OpensmileFunctionals
from emotion.files import write_text
from emotion.media.int16 import INT16_FULL_SCALE
from emotion.metrics.predictions import predict
from emotion.pipelines.results import cache_features
from emotion.plots.figure import save_figure
from emotion.training.estimator import vectors_of

SIZES, DRAWS = (5, 10, 20, 50), 5
CPU = torch.device("cpu")
C = 0.01
COLORS = {
    "features of the model": "#0072b2",
    "features of the model and eGeMAPS": "#56b4e9",
    "from nothing (eGeMAPS)": "#d55e00",
    "the model without labels": "#555555",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="CSV to write, or to read without RUN.")
    parser.add_argument("--figure", type=Path, help="PNG to write.")
    arguments = parser.parse_args()
    if arguments.runs:
        table = pd.concat([measure(run) for run in arguments.runs], ignore_index=True)
        write_text(arguments.output, table.to_csv(index=False, lineterminator="\n", float_format="%.4f"))
    table = pd.read_csv(arguments.output)
    if arguments.figure:
        save_figure(plot(table), arguments.figure)
    print(table.pivot_table(index=["corpus", "test", "system"], columns="clips", values="uar").round(3).to_string())


def plot(table):
    """Return a figure of the learning curves: the mean and the range of the draws."""
    groups = list(table.groupby(["corpus", "test"]))
    figure = Figure(figsize=(3.2 * len(groups), 3.6), layout="constrained")
    axes = figure.subplots(1, len(groups), sharey=True)
    for axis, ((corpus, test), rows) in zip(axes, groups, strict=True):
        for system, color in COLORS.items():
            curve = rows[rows["system"] == system].groupby("clips")["uar"].agg(["mean", "min", "max"])
            axis.plot(curve.index, curve["mean"], "o-", color=color, label=system, markersize=4)
            axis.fill_between(curve.index, curve["min"], curve["max"], color=color, alpha=0.15, linewidth=0)
        axis.set_title(f"{corpus.upper()}, {test}", fontsize=9)
        axis.set_xscale("log")
        axis.set_xticks(SIZES, map(str, SIZES))
        axis.minorticks_off()
        axis.set_xlabel("labelled clips for each emotion")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("UAR on speakers without labels")
    axes[0].set_ylim(0, 1)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    figure.suptitle("A few labels help most, on the features of a model that has not met the corpus")
    return figure


def measure(run):
    config = runs.load_config(run)
    datamodule, classifier = datamodule_of(config, runs.load_recordings(run)), load_classifier(run, config)
    datamodule.setup()
    cache_features(classifier, datamodule, CPU)
    rows = datamodule.table[datamodule.table["split"] == "test"].reset_index(drop=True)
    truth, speakers = rows["label"].to_numpy(), rows["speaker"].to_numpy()
    corpus = rows["recording"].iloc[0].partition("/")[0]
    answers = predict(classifier, datamodule, "test", CPU)[list(datamodule.classes)].to_numpy()
    answers = np.where(np.isin(np.arange(answers.shape[1]), truth), answers, 0).argmax(axis=1)
    vectors = {
        "features of the model": vectors_of(classifier.encoder, datamodule, "test", CPU).values,
        "from nothing (eGeMAPS)": egemaps(datamodule, rows["recording"]),
    }
    vectors["features of the model and eGeMAPS"] = np.concatenate(list(vectors.values()), axis=1)
    sentences = rows["recording"].str.extract(r"-(\d\d)-\d\d-\d\d-\d\d")[0].to_numpy() if corpus == "ased" else None
    found = []
    for test in ["other speakers"] + ["other speakers and sentences"] * (sentences is not None):
        for draw in range(DRAWS):
            random = np.random.default_rng(draw)
            chosen = random.permutation(np.unique(speakers))[: max(1, len(np.unique(speakers)) // 2)]
            inside = np.isin(speakers, chosen)
            known = sentences_of_labels(random, truth, sentences) if "sentences" in test else np.ones(len(truth), bool)
            tested = ~inside & (~known if "sentences" in test else True)
            for clips in SIZES:
                labelled = pick(random, truth, inside & known, clips)
                for system, values in vectors.items():
                    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
                    model.fit(values[labelled], truth[labelled])
                    uar = recall_score(truth[tested], model.predict(values[tested]), average="macro")
                    found.append((corpus, test, system, clips, draw, uar))
                uar = recall_score(truth[tested], answers[tested], average="macro")
                found.append((corpus, test, "the model without labels", clips, draw, uar))
    return pd.DataFrame(found, columns=["corpus", "test", "system", "clips", "draw", "uar"])


def sentences_of_labels(random, truth, sentences):
    """Return which recordings have a sentence of the random half of those of their emotion."""
    known = np.zeros(len(truth), bool)
    for label in np.unique(truth):
        own = random.permutation(np.unique(sentences[truth == label]))
        known |= (truth == label) & np.isin(sentences, own[: (len(own) + 1) // 2])
    return known


def pick(random, truth, allowed, clips):
    """Return the indices of recordings to label."""
    return np.concatenate(
        [random.permutation(np.flatnonzero(allowed & (truth == label)))[:clips] for label in np.unique(truth)]
    )


def egemaps(datamodule, recordings):
    compute, waveforms = OpensmileFunctionals(16_000, "eGeMAPSv02"), datamodule.sources["waveform"]
    items = []
    for recording in recordings:
        samples, length = waveforms.select([recording]).padded([0])
        items.append(compute(samples.float() / INT16_FULL_SCALE, length)[0][0, :, 0].numpy())
    return np.stack(items)


if __name__ == "__main__":
    main()
