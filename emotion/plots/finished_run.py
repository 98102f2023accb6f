"""Pictures of a finished run that a person wants to see."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from emotion import runs
from emotion.config import instantiate
from emotion.corpora import Corpus
from emotion.data.datamodule import EmotionDataModule
from emotion.data.dataset import Batch
from emotion.errors import EmotionError, suggest
from emotion.labels import classes
from emotion.media.video import read_middle_picture
from emotion.plots import attribution, figures
from emotion.plots.contact_sheet import mel_spectrogram
from emotion.reports.systems import Run
from emotion.restore import reopen

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_COLUMNS = 4


def draw(run_dir: Path) -> list[Path]:
    """Write `curves.png`, unless there were no epochs, `confusion_matrix.png` and `hardest.png` into a run's `figures`.

    Raises:
        EmotionError: it is no finished run, or its corpus is not at hand.
    """
    config = runs.load_config(runs.require(run_dir))
    labels = classes(config.labels)
    predictions = pd.read_csv(run_dir / "predictions.csv", dtype={"speaker": str})
    test = predictions[predictions["split"] == "test"]
    corpus = instantiate(config.data.corpus, Corpus)
    directory = corpus.locate(config.data.root)
    recordings = corpus.scan(directory)
    title = f"{config.name}, fold {config.protocol.fold}, seed {config.seed}"
    trained = runs.load_metrics(run_dir).get("epochs", 0) > 0
    drawn = {"curves": figures.curves_figure(curves(run_dir), title)} if trained else {}
    drawn |= {
        "confusion_matrix": figures.confusion_figure(test, labels, f"{title}: test"),
        "hardest": hardest_figure(hardest(test, labels), recordings, directory, f"{title}: the hardest of test"),
    }
    for name, figure in drawn.items():
        figures.save(figure, run_dir / "figures" / f"{name}.png")
    return [run_dir / "figures" / f"{name}.png" for name in drawn]


def explain(run_dir: Path, recordings: list[str]) -> Path:
    """Draw what of some recordings speaks for what the run says of them, into `figures/attribution.png`.

    Args:
        run_dir: A finished run.
        recordings: Keys of its dev and test splits, such as `ravdess/01-01-05-02-02-01-07`.

    Raises:
        EmotionError: a recording is in neither split.
    """
    config, classifier, datamodule = reopen(run_dir)
    labels = datamodule.classes
    rows = []
    for recording in recordings:
        batch = _batch_of(datamodule, recording)
        probabilities = classifier.probabilities(batch)[0]
        said = int(probabilities.argmax())
        true = labels[int(batch["label"])]
        answer = "rightly named" if labels[said] == true else f"taken for {labels[said]}"
        name = f"{recording}: {true}, {answer} ({probabilities[said]:.2f})"
        rows.append((name, attribution.attribute(classifier, batch, said)))
    path = run_dir / "figures" / "attribution.png"
    figures.save(attribution.attribution_figure(rows, f"{config.name}: what speaks for what it says"), path)
    return path


def _batch_of(datamodule: EmotionDataModule, recording: str) -> Batch:
    for split in ("dev", "test"):
        dataset = datamodule.dataset(split)
        if recording in dataset.recordings:
            return dataset[int((dataset.recordings == recording).argmax())]
    known = datamodule.table.loc[datamodule.table["split"] != "train", "recording"]
    raise EmotionError(f"{recording} is in neither dev nor test of the run: {suggest(recording, list(known))}")


def curves(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Epoch and value of everything that was logged once an epoch.

    Raises:
        EmotionError: there is no TensorBoard file.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.WARNING)
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if name.startswith(("train/", "dev/"))]
    if not names:
        raise EmotionError(f"{run_dir / 'tensorboard'} holds no curves")
    return {name: [(epoch, event.value) for epoch, event in enumerate(events.Scalars(name), 1)] for name in names}


def learning_curves(found: list[Run]) -> pd.DataFrame:
    """Loss and UAR of train and dev over the epochs, averaged over the runs of each name.

    Returns:
        Columns `system`, `epoch`, and `train/loss`, `dev/loss`, `train/uar` and `dev/uar` with `… deviation` (0 of one
        run).

    Raises:
        EmotionError: a run has no TensorBoard file, as those under `results/` have none.
    """
    names = ["train/loss", "dev/loss", "train/uar", "dev/uar"]
    parts = []
    for run in found:
        drawn = curves(run.directory)
        columns = {name: pd.Series(dict(drawn[name])) for name in names}
        parts.append(pd.DataFrame(columns).rename_axis("epoch").reset_index().assign(system=run.metrics["name"]))
    grouped = pd.concat(parts).groupby(["system", "epoch"])
    return grouped.mean().join(grouped.std().fillna(0.0).add_suffix(" deviation")).reset_index()


def hardest(predictions: pd.DataFrame, labels: tuple[str, ...], count: int = 8) -> pd.DataFrame:
    """The recordings to whose true emotion the least probability was given, the hardest first; with `probability`."""
    true = pd.Index(labels).get_indexer(predictions["emotion"])
    probability = predictions[list(labels)].to_numpy()[range(len(predictions)), true]
    return predictions.assign(probability=probability).nsmallest(count, "probability")


def hardest_figure(rows: pd.DataFrame, recordings: pd.DataFrame, directory: Path, title: str) -> "Figure":
    """Face and mel spectrogram of recordings, with what they are and what they were taken for.

    Args:
        rows: As `hardest` gives them.
        recordings: The table of the corpus.
        directory: Its folder.
        title: Of the figure.
    """
    shown = rows.merge(recordings[["recording", "audio", "video"]], on="recording")
    if shown.empty:
        raise EmotionError(f"the recordings that the run judged are not in {directory}")
    seen = (shown["video"] != "").any()
    lines = -(-len(shown) // _COLUMNS)
    heights = ([1.5] if seen else []) + [1.0]
    figure, panels = figures.blank(
        11,
        lines * (1.2 + 1.3 * sum(heights)),
        rows=lines * len(heights),
        columns=_COLUMNS,
        height_ratios=heights * lines,
    )
    for axes in panels.ravel():
        axes.set_axis_off()
    for place, row in enumerate(shown.to_dict("records")):
        column = panels[:, place % _COLUMNS][place // _COLUMNS * len(heights) :][: len(heights)]
        if row["video"]:
            column[0].imshow(read_middle_picture(directory / row["video"]))
        if row["audio"]:
            column[-1].imshow(mel_spectrogram(directory / row["audio"]), origin="lower", aspect="auto", cmap="magma")
        told = f"{row['emotion']}, taken for {row['predicted']}\n({row['probability']:.3f} for {row['emotion']})"
        column[0].set_title(f"{told}\n{row['recording']}", fontsize=8)
    figure.suptitle(title)
    return figure
