import json

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT
from emotion.errors import EmotionError
from emotion.evaluation import report
from emotion.labels import EMOTIONS


def make_run(folder, fold=0, seed=0, right=8, count=16, **changes):
    """A finished run in which `right` of `count` test recordings are named right."""
    folder.mkdir(parents=True)
    truth = np.arange(count) % 8
    predicted = np.where(np.arange(count) < right, truth, (truth + 1) % 8)
    scores = np.full((count, 8), 0.05)
    scores[np.arange(count), predicted] = 0.65
    table = pd.DataFrame(scores, columns=EMOTIONS)
    table.insert(0, "split", "test")
    table.insert(1, "recording", [f"ravdess/{fold}-{number}" for number in range(count)])
    table.insert(2, "speaker", f"ravdess/{fold}")
    table.insert(3, "emotion", np.array(EMOTIONS)[truth])
    table.insert(4, "predicted", np.array(EMOTIONS)[predicted])
    table.to_csv(folder / "predictions.csv", index=False)
    metrics = {"name": "x", "model": "mfcc_cnn", "data": "ravdess", "channel": "speech", "labels": "emotions"}
    metrics |= {"protocol": "luna5", "speaker_independent": True, "transductive": False, "parameters": 1}
    metrics |= {"fold": fold, "seed": seed, "fit_seconds": 60.0, "test/uar": 0.0}
    (folder / "metrics.json").write_text(json.dumps(metrics | changes))
    (folder / "config.yaml").write_text("seed: 0\n")


def test_the_results_page_is_what_the_command_makes_of_the_committed_files():
    page = report.page(report.find([ROOT / "results"]))
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == page


def test_committed_results_are_of_speech_and_honest():
    runs = report.find([ROOT / "results"])
    assert {run.metrics["protocol"] for run in runs} >= {"luna5", "random"}
    for run in runs:
        assert run.metrics["data"] != "demo"
        assert run.metrics["speaker_independent"] is (run.metrics["protocol"] == "luna5")
        assert (run.directory / "config.yaml").is_file()


def test_folds_are_pooled_over_recordings_and_seeds_averaged(tmp_path):
    for seed, right in ((0, 16), (1, 8)):
        make_run(tmp_path / f"a{seed}", fold=0, seed=seed, right=right, count=16)
        make_run(tmp_path / f"b{seed}", fold=1, seed=seed, right=8, count=32)
    (row,) = report.table(report.find([tmp_path])).to_dict("records")
    assert row["accuracy"] == f"{(24 / 48 + 16 / 48) / 2:.3f} ± {np.std([24 / 48, 16 / 48], ddof=1):.3f}"
    assert (row["seeds"], row["recordings"]) == ("2", "48")
    assert row["folds"] == "**only 2 of 5**"


def test_systems_and_protocols_are_never_mixed(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", protocol="random", speaker_independent=False)
    make_run(tmp_path / "c", name="y")
    make_run(tmp_path / "d", transductive=True)
    protocols = report.table(report.find([tmp_path]))["protocol"]
    assert sorted(protocols) == ["luna5", "luna5", "luna5 (transductive)", "random (speaker-dependent)"]


def test_a_fold_that_was_run_twice_is_refused(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    with pytest.raises(EmotionError, match="judged twice"):
        report.table(report.find([tmp_path]))


def test_demo_runs_are_no_results(tmp_path):
    make_run(tmp_path / "a", data="demo")
    with pytest.raises(EmotionError, match="demo"):
        report.table(report.find([tmp_path]))


def test_small_files_are_kept_by_name_fold_and_seed(tmp_path):
    make_run(tmp_path / "runs" / "a", fold=3, seed=2)
    report.keep(report.find([tmp_path / "runs"]), tmp_path / "kept")
    kept = sorted(path.relative_to(tmp_path / "kept").as_posix() for path in (tmp_path / "kept").rglob("*.*"))
    assert kept == [f"x/fold3-seed2/{name}" for name in ("config.yaml", "metrics.json", "predictions.csv")]


@pytest.mark.parametrize(("text", "words"), [("{", "damaged"), ("{}", "lacks")])
def test_damaged_metrics_are_named(tmp_path, text, words):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(EmotionError, match=words):
        report.find([tmp_path])
