"""Measure what a prediction costs, beside its UAR: multiplications, real-time factor, and the Pareto front.

    EMOTION_DATA=DIR python benchmarks/compute.py RUN...

Writes results/compute.csv, a row for each run of RAVDESS: its parameters, multiply-accumulate operations for a second
of a recording, and the real-time factor of `emotion predict` on one core. The figure docs/compute.png shows the UAR of
results/summary.csv against both.
"""

import os
import sys
import time
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from emotion.inference import Predictor
from emotion.runs import load_metrics

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
N_RECORDINGS, ROUNDS = 24, 3
SOURCES = {"audio": "ravdess/Audio_Speech_Actors_01-24/**/*.flac", "face": "ravdess_originals/**/01-01-*.mp4"}


def main(directories):
    torch.set_num_threads(1)
    rows = [measure(Path(directory)) for directory in directories]
    table = pd.DataFrame(rows)
    table.to_csv(ROOT / "results" / "compute.csv", index=False, lineterminator="\n")
    print(table.to_string(index=False))
    draw(table)


def measure(directory):
    metrics, predictor = load_metrics(directory), Predictor.from_run(directory)
    kind = "face" if "face" in predictor.model.modalities else "audio"
    files = sorted(Path(os.environ["EMOTION_DATA"]).glob(SOURCES[kind]))[:: 1440 // N_RECORDINGS][:N_RECORDINGS]
    recordings = [predictor.reader.read(file) for file in files]
    seconds = sum(len(one.arrays["audio"]) for one in recordings) / predictor.reader.sample_rate
    # Without oneDNN an LSTM consists of matrix products, which are counted.
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        for recording in recordings[:2]:
            predictor.model([recording])
    counted = sum(len(one.arrays["audio"]) for one in recordings[:2]) / predictor.reader.sample_rate
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        list(predictor.predict(files))
        taken.append(time.perf_counter() - began)
    return {
        "experiment": metrics["name"],
        "parameters": metrics["parameters"],
        "million_macs_per_second": round(counter.get_total_flops() / 2 / 1e6 / counted, 1),
        "real_time_factor": round(min(taken) / seconds, 4),
    }


def draw(table):
    """Draw the UAR against operations and the real-time factor; a line joins the systems of the Pareto front."""
    summary = pd.read_csv(ROOT / "results" / "summary.csv").query("not ensemble or experiment.str.contains('ensemble')")
    joined = table.merge(summary[["experiment", "uar", "protocol"]], on="experiment").query("protocol == 'luna5'")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="constrained")
    titles = {
        "million_macs_per_second": "million multiplications for a second",
        "real_time_factor": "real-time factor, one core",
    }
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        axis.scatter(joined[column], joined["uar"], color="black", zorder=2)
        for row in joined.itertuples():
            name = row.experiment.rpartition("/")[2].removesuffix("_luna5")
            axis.annotate(name, (getattr(row, column), row.uar), xytext=(5, 4), textcoords="offset points", fontsize=8)
        ordered = joined.sort_values(column)
        front = ordered[ordered["uar"] == ordered["uar"].cummax()]
        axis.plot(front[column], front["uar"], color="tab:blue", zorder=1, label="Pareto front")
        axis.set(xscale="log", xlabel=title)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("UAR, RAVDESS speech, luna5")
    axes[0].legend()
    figure.savefig(ROOT / "docs" / "compute.png", dpi=110)


if __name__ == "__main__":
    main(sys.argv[1:])
