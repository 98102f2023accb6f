"""Measure what predictions cost, beside the UAR: operations, real-time factor, and the Pareto front.

    EMOTION_DATA=DIR python benchmarks/compute.py RUN...

Writes results/compute.csv, a row for each run of RAVDESS speech: its parameters, the multiplications of its networks
for a second of audio (openSMILE is not counted), and the real-time factor of predicting
files on one core, decoding included. docs/compute.png shows the UAR of results/summary.csv against both.
"""

import os
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode

from emotion.inference import Predictor
from emotion.plots.figure import SERIES_STYLES, new_panels, save_figure
from emotion.runs import load_metrics

ROOT = Path(__file__).parents[1]
N_RECORDINGS, ROUNDS = 24, 3
OPERATIONS, FACTOR = "million_multiplications_per_second", "real_time_factor"


def main(directories):
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {0})  # one core, for reading too
    files = sorted(Path(os.environ["EMOTION_DATA"]).glob("ravdess/Audio_Speech_Actors_01-24/**/*.flac"))
    files = files[:: len(files) // N_RECORDINGS][:N_RECORDINGS]
    table = pd.DataFrame([measure(Path(directory), files) for directory in directories])
    table.to_csv(ROOT / "results" / "compute.csv", index=False, lineterminator="\n")
    print(table.to_string(index=False))
    draw(table)


def measure(directory, files):
    metrics, predictor = load_metrics(directory), Predictor.from_run(directory)
    recordings = [predictor.reader.read(file) for file in files]
    seconds = [soundfile.info(file).duration for file in files]
    # Without oneDNN an LSTM consists of matrix products, which are counted.
    warnings.simplefilter("ignore")  # about hardware that is not there
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        for recording in recordings[:2]:
            predictor.model([recording])
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        list(predictor.predict(files))
        taken.append(time.perf_counter() - began)
    multiplications = counter.get_total_flops() / 2 / 1e6 / sum(seconds[:2])
    return {
        "experiment": metrics["name"],
        "parameters": metrics["parameters"],
        OPERATIONS: round(multiplications, 1) if multiplications else "",
        FACTOR: round(min(taken) / sum(seconds), 4),
    }


def draw(table):
    """Draw the UAR against operations and the real-time factor; a line joins the systems of the Pareto front."""
    summary = pd.read_csv(ROOT / "results" / "summary.csv").query("seeds >= 1 and protocol == 'luna5'")
    summary = summary.drop_duplicates("experiment")[["experiment", "uar"]]  # a system, not the ensemble of its seeds
    joined = table.merge(summary, on="experiment")
    figure, panels = new_panels(11, 4.6, columns=2)
    titles = {OPERATIONS: "million multiplications for a second of audio", FACTOR: "real-time factor on one core"}
    for axes, (column, title) in zip(panels[0], titles.items(), strict=True):
        own = joined.assign(cost=pd.to_numeric(joined[column])).dropna(subset="cost").sort_values("cost")
        front = own[own["uar"] == own["uar"].cummax()]
        axes.plot(front["cost"], front["uar"], color=SERIES_STYLES[0][0], zorder=1, label="Pareto front")
        axes.scatter(own["cost"], own["uar"], color="black", zorder=2)
        for row in own.itertuples():
            name = row.experiment.rpartition("/")[2].removesuffix("_luna5")
            axes.annotate(name, (row.cost, row.uar), xytext=(6, -10), textcoords="offset points", fontsize=9)
        axes.set(xscale="log", xlabel=title)
        axes.set_xlim(own["cost"].min() / 2, own["cost"].max() * 6)
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("UAR, RAVDESS speech, luna5")
    panels[0, 0].legend()
    save_figure(figure, ROOT / "docs" / "compute.png")


if __name__ == "__main__":
    main(sys.argv[1:])
