"""Plots of a finished run: learning curves, confusion matrix, most difficult recordings, attributions."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from emotion import runs
from emotion.batch import Batch
from emotion.composition import require_labels, restore_run
from emotion.config.target import instantiate
from emotion.corpora import Corpus
from emotion.data.datamodule import EmotionDataModule
from emotion.errors import EmotionError, suggest
from emotion.labels import classes
from emotion.media.video import read_middle_frame
from emotion.plots.attribution import attribute, plot_attributions
from emotion.plots.figure import new_panels, save_figure
from emotion.plots.learning_curves import plot_run_curves, read_curves
from emotion.plots.metrics import plot_confusion_matrix
from emotion.plots.recording import mel_spectrogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4


def plot_run(run_dir: Path) -> list[Path]:
    """Write `curves.png` (of runs with epochs), `confusion_matrix.png` and `hardest.png` to `RUN/figures/`.

    Returns:
        Paths of the files.

    Raises:
        EmotionError: `run_dir` is not a finished run, or its corpus is missing.
    """
    config = runs.load_config(runs.require(run_dir))
    require_labels(config, run_dir)
    labels = classes(config.labels)
    path = run_dir / "predictions.csv"
    if not path.is_file():
        raise EmotionError(f"{path} does not exist: was the run finished?")
    predictions = pd.read_csv(path, dtype={"speaker": str})
    test = predictions[predictions["split"] == "test"]
    corpus = instantiate(config.data.corpus, Corpus)
    directory = corpus.locate(config.data.root)
    recordings = corpus.scan(directory)
    title = f"{config.name}, fold {config.protocol.fold}, seed {config.seed}"
    has_epochs = runs.load_metrics(run_dir).get("epochs", 0) > 0
    figures = {"curves": plot_run_curves(read_curves(run_dir), title)} if has_epochs else {}
    figures |= {
        "confusion_matrix": plot_confusion_matrix(test, labels, f"{title}: test"),
        "hardest": plot_hardest(
            hardest_recordings(test, labels), recordings, directory, f"{title}: most difficult test recordings"
        ),
    }
    for name, figure in figures.items():
        save_figure(figure, run_dir / "figures" / f"{name}.png")
    return [run_dir / "figures" / f"{name}.png" for name in figures]


def plot_run_attributions(run_dir: Path, recordings: list[str]) -> Path:
    """Write the attributions of the predicted emotion of recordings to `RUN/figures/attribution.png`.

    Args:
        run_dir: Directory of a finished run.
        recordings: Keys of dev or test recordings, such as `ravdess/01-01-05-02-02-01-07`.

    Raises:
        EmotionError: a recording is in neither split.
    """
    config, classifier, datamodule = restore_run(run_dir)
    labels = datamodule.classes
    rows = []
    for recording in recordings:
        batch = _batch_of(datamodule, recording)
        probabilities = classifier.predict(batch)[0]
        predicted = int(probabilities.argmax())
        true = labels[int(batch["label"])]
        name = f"{recording}: true {true}, predicted {labels[predicted]} ({probabilities[predicted]:.2f})"
        rows.append((name, attribute(classifier, batch, predicted)))
    path = run_dir / "figures" / "attribution.png"
    save_figure(plot_attributions(rows, f"{config.name}: attribution of the predicted emotion"), path)
    return path


def _batch_of(datamodule: EmotionDataModule, recording: str) -> Batch:
    for split in ("dev", "test"):
        dataset = datamodule.dataset(split)
        if recording in dataset.recordings:
            return dataset[int((dataset.recordings == recording).argmax())]
    known = datamodule.table.loc[datamodule.table["split"] != "train", "recording"]
    raise EmotionError(f"{recording} is in neither dev nor test of the run: {suggest(recording, list(known))}")


def hardest_recordings(predictions: pd.DataFrame, labels: tuple[str, ...], n_recordings: int = 8) -> pd.DataFrame:
    """Return the recordings with the lowest probability of the true emotion, lowest first.

    Args:
        predictions: Predictions of one split.
        labels: Class names.
        n_recordings: Number of recordings (default: 8).

    Returns:
        Rows of `predictions`, with the column `probability` of the true emotion.
    """
    true = pd.Index(labels).get_indexer(pd.Index(predictions["emotion"]))
    probability = predictions[list(labels)].to_numpy()[range(len(predictions)), true]
    return predictions.assign(probability=probability).nsmallest(n_recordings, "probability")


def plot_hardest(rows: pd.DataFrame, recordings: pd.DataFrame, directory: Path, title: str) -> "Figure":
    """Plot the middle frame and mel spectrogram of recordings, with their true and predicted emotions.

    Args:
        rows: Predictions, as returned by `hardest_recordings`.
        recordings: Table of the corpus.
        directory: Directory of the corpus.
        title: Title of the figure.
    """
    rows = rows.merge(recordings[["recording", "audio", "video"]], on="recording")
    if rows.empty:
        raise EmotionError(f"the test recordings of the run are missing from {directory}; give the corpus it used")
    heights = ([1.5] if (rows["video"] != "").any() else []) + [1.0]
    lines = -(-len(rows) // _COLUMNS)
    size = (11, lines * (1.2 + 1.3 * sum(heights)))
    figure, panels = new_panels(*size, lines * len(heights), _COLUMNS, height_ratios=heights * lines)
    for axes in panels.ravel():
        axes.set_axis_off()
    for place, row in enumerate(rows.to_dict("records")):
        column = panels[:, place % _COLUMNS][place // _COLUMNS * len(heights) :][: len(heights)]
        if row["video"]:
            column[0].imshow(read_middle_frame(directory / row["video"]))
        if row["audio"]:
            column[-1].imshow(mel_spectrogram(directory / row["audio"]), origin="lower", aspect="auto", cmap="magma")
        title_lines = (
            f"true {row['emotion']}, predicted {row['predicted']}",
            f"p({row['emotion']}) = {row['probability']:.3f}",
            row["recording"],
        )
        column[0].set_title("\n".join(title_lines), fontsize=8)
    figure.suptitle(title)
    return figure
