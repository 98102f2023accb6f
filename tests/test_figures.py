"""Tests of plots of recordings and of finished runs."""

import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import soundfile

from emotion.errors import EmotionError
from emotion.labels import EMOTIONS
from emotion.plots import finished_run
from emotion.plots.figure import save_figure
from emotion.plots.learning_curves import mean_learning_curves, plot_learning_curves, plot_run_curves, read_curves
from emotion.plots.recording import plot_recording
from emotion.reports.runs import find_runs


@pytest.fixture
def audio_file(tmp_path):
    soundfile.write(tmp_path / "audio.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 16000)
    return tmp_path / "audio.wav"


def test_audio_has_no_frames(audio_file):
    figure = plot_recording(audio_file)
    assert [axes.get_ylabel() for axes in figure.axes[:3]] == ["waveform", "mel band", "MFCC (standardised)"]
    assert figure.axes[0].get_xlim() == (0, 0.5)


def test_an_image_has_no_audio(tmp_path):
    cv2.imwrite(str(tmp_path / "face.png"), np.full((40, 60, 3), 200, np.uint8))
    (axes,) = plot_recording(tmp_path / "face.png").axes
    assert axes.images[0].get_array().shape[:2] == (213, 320)


@pytest.mark.slow
def test_videos_have_frames_and_audio(real_data, tmp_path):
    clips = sorted((real_data / "ravdess_faces" / "clips").glob("*.mp4"))
    figure = plot_recording(clips[0])
    assert len(figure.axes[0].get_xticks()) == 8
    assert figure.axes[1].get_ylabel() == "waveform"
    save_figure(figure, tmp_path / "clip.png")
    assert cv2.imread(str(tmp_path / "clip.png")).std() > 20


@pytest.mark.slow
def test_command_writes_a_plot_or_one_line_of_error(audio_file, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    command = [sys.executable, "-m", "emotion.cli", "figures", "--output", str(tmp_path / "drawn")]
    done = subprocess.run([*command, str(audio_file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn" / "audio.png").exists()
    refused = subprocess.run([*command, str(tmp_path / "text.mp4")], capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert "text.mp4" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_hardest_recordings_have_the_lowest_probability_of_the_true_emotion():
    rows = pd.DataFrame(np.full((3, 8), 0.1), columns=EMOTIONS)
    rows["recording"], rows["emotion"] = ["a", "b", "c"], ["sad", "calm", "happy"]
    rows.loc[0, "sad"], rows.loc[1, "calm"], rows.loc[2, "happy"] = 0.3, 0.01, 0.2
    hardest = finished_run.hardest_recordings(rows, EMOTIONS, n_recordings=2)
    assert list(hardest["recording"]) == ["b", "c"]
    assert list(hardest["probability"]) == [0.01, 0.2]


@pytest.mark.slow
def test_finished_runs_are_plotted(train_in_process):
    run_dir = train_in_process("trainer.max_epochs=3")
    curves = read_curves(run_dir)
    assert [epoch for epoch, _ in curves["dev/uar"]] == [1, 2, 3]
    assert {"train/loss", "dev/loss", "train/uar"} <= set(curves)
    best = max(value for _, value in curves["dev/uar"])
    assert plot_run_curves(curves, "run").axes[1].texts[0].get_text() == f"{best:.3f}"
    drawn = finished_run.plot_run(run_dir)
    assert [path.name for path in drawn] == ["curves.png", "confusion_matrix.png", "hardest.png"]
    assert all(cv2.imread(str(path)).shape[1] > 500 for path in drawn)

    table = pd.read_csv(run_dir / "predictions.csv")
    explained = finished_run.plot_run_attributions(run_dir, list(table["recording"][:2]))
    assert cv2.imread(str(explained)).shape[1] > 500
    with pytest.raises(EmotionError, match=r"demo/x is in neither dev nor test"):
        finished_run.plot_run_attributions(run_dir, ["demo/x"])


@pytest.mark.slow
def test_learning_curves_are_averaged_over_runs_of_the_same_name(train_in_process, tmp_path):
    short = [train_in_process(f"seed={seed}", "trainer.max_epochs=2", name=f"run{seed}") for seed in (0, 1)]
    table = mean_learning_curves((run.name, run.directory) for run in find_runs([tmp_path]))
    assert table["epoch"].tolist() == [1, 2]
    curves = [dict(read_curves(run_dir)["dev/uar"]) for run_dir in short]
    assert table["dev/uar"].tolist() == pytest.approx(
        [np.mean([values[epoch] for values in curves]) for epoch in (1, 2)]
    )
    figure = plot_learning_curves(table)
    assert [line.get_label() for line in figure.axes[1].lines] == ["demo-mfcc_cnn, dev", "demo-mfcc_cnn, train"]


def test_folders_that_are_not_runs_are_refused(tmp_path):
    with pytest.raises(EmotionError):
        finished_run.plot_run(tmp_path)
