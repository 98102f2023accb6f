import json

import cv2
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics
from omegaconf import OmegaConf

from conftest import ROOT
from emotion.errors import EmotionError
from emotion.labels import EMOTIONS
from emotion.plots import figures
from emotion.reports import page as results_page
from emotion.reports import systems
from emotion.reports import tables as report
from emotion.statistics.comparison import holm, mcnemar, wilcoxon_over_speakers


def make_run(folder, fold=0, seed=0, right=8, count=16, rate=0.1, monitor="dev/uar", **changes):
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
    metrics |= {"fold": fold, "folds": 5, "seed": seed, "fit_seconds": 60.0, "test/uar": 0.0}
    (folder / "metrics.json").write_text(json.dumps(metrics | changes))
    (folder / "config.yaml").write_text(f"seed: {seed}\nrate: {rate}\ntraining:\n  monitor: {monitor}\n")


@pytest.mark.slow
def test_the_results_page_is_what_the_command_makes_of_the_committed_files():
    page = results_page.page(systems.find([ROOT / "results"]))
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == page


def test_committed_results_say_whether_they_know_the_speakers():
    runs = systems.find([ROOT / "results"])
    assert {run.metrics["protocol"] for run in runs} >= {"luna5", "random"}
    for run in runs:
        assert run.metrics["data"] != "demo"
        promise = OmegaConf.load(ROOT / "conf" / "protocol" / f"{run.metrics['protocol']}.yaml")
        assert run.metrics["speaker_independent"] is promise.speaker_independent
        assert run.directory.relative_to(ROOT / "results").as_posix().startswith(run.metrics["name"])
        assert (run.directory / "config.yaml").is_file()


def test_folds_that_test_recordings_again_are_averaged(tmp_path):
    for fold, right in ((0, 16), (1, 8), (2, 8)):
        make_run(tmp_path / f"{fold}", fold=fold, right=right, epochs=0, parameters=fold)
        file = tmp_path / f"{fold}" / "predictions.csv"
        file.write_text(file.read_text().replace(f"ravdess/{fold}", "ravdess/0"))
    table = report.compare(systems.find([tmp_path]))
    (row,) = report.in_words(table).to_dict("records")
    assert row["accuracy"] == f"{np.mean([1, 0.5, 0.5]):.3f} ± {np.std([1, 0.5, 0.5], ddof=1):.3f}"
    assert (row["seeds"], row["recordings"], row["parameters"]) == ("1", "16", "1")
    assert "x: its folds test recordings again, so figures are means over 3 folds" in report.warnings(table)
    make_run(tmp_path / "again", fold=2, right=8, epochs=0)
    with pytest.raises(EmotionError, match="judged twice for one seed"):
        report.compare(systems.find([tmp_path]))


def test_folds_are_pooled_over_recordings_and_seeds_averaged(tmp_path):
    for seed, right in ((0, 16), (1, 8)):
        make_run(tmp_path / f"a{seed}", fold=0, seed=seed, right=right, count=16)
        make_run(tmp_path / f"b{seed}", fold=1, seed=seed, right=8, count=32)
    (row,) = report.table(systems.find([tmp_path])).to_dict("records")
    assert row["accuracy"] == f"{(24 / 48 + 16 / 48) / 2:.3f} ± {np.std([24 / 48, 16 / 48], ddof=1):.3f}"
    assert (row["seeds"], row["recordings"]) == ("2", "48")
    assert row["folds"] == "**only 2 of 5**"


def test_systems_and_protocols_are_never_mixed(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", protocol="random", speaker_independent=False)
    make_run(tmp_path / "c", name="y")
    make_run(tmp_path / "d", transductive=True)
    protocols = report.table(systems.find([tmp_path]))["protocol"]
    assert sorted(protocols) == ["luna5", "luna5", "luna5 (transductive)", "random (speaker-dependent)"]


def test_a_fold_that_was_run_twice_is_refused(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    with pytest.raises(EmotionError, match="judged twice"):
        report.table(systems.find([tmp_path]))


def test_demo_runs_are_no_results(tmp_path):
    make_run(tmp_path / "a", data="demo")
    with pytest.raises(EmotionError, match="demo"):
        report.table(systems.find([tmp_path]))


def test_small_files_are_kept_by_name_fold_and_seed(tmp_path):
    make_run(tmp_path / "runs" / "a", fold=3, seed=2)
    systems.keep(systems.find([tmp_path / "runs"]), tmp_path / "kept")
    kept = sorted(path.relative_to(tmp_path / "kept").as_posix() for path in (tmp_path / "kept").rglob("*.*"))
    assert kept == [f"x/fold3-seed2/{name}" for name in ("config.yaml", "metrics.json", "predictions.csv")]


@pytest.mark.parametrize(("text", "words"), [("{", "damaged"), ("{}", "lacks")])
def test_damaged_metrics_are_named(tmp_path, text, words):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(EmotionError, match=words):
        systems.find([tmp_path])


def test_seeds_together_average_log_probabilities(tmp_path):
    # Two of three seeds are sure of the right label for one half, the third unsure: the mean of logarithms decides.
    for seed, right in ((0, 16), (1, 16), (2, 0)):
        make_run(tmp_path / str(seed), seed=seed, right=right)
    (row,) = report.table(systems.find([tmp_path])).to_dict("records")
    assert row["seeds together"] == "1.000"
    assert row["UAR"].startswith("0.667 ± ")


def test_a_multirun_that_is_not_done_has_no_figure_of_its_seeds_together(tmp_path):
    for seed, fold in ((0, 0), (0, 1), (1, 0)):
        make_run(tmp_path / f"{seed}-{fold}", seed=seed, fold=fold)
    (row,) = report.table(systems.find([tmp_path])).to_dict("records")
    assert row["seeds"] == "2"
    assert "seeds together" not in row


def test_systems_are_told_apart_by_a_key_and_held_against_one(tmp_path):
    for rate, right in ((0.1, 16), (0.5, 8)):
        for seed in (0, 1):
            make_run(tmp_path / f"{rate}-{seed}", seed=seed, right=right - seed, rate=rate, name=f"rate/{rate}")
    runs = systems.find([tmp_path])
    table = report.table(runs, by="rate", against="rate/0.1")
    assert list(table["rate"]) == ["0.1", "0.5"]
    assert list(report.table(runs[::-1], by="rate")["rate"]) == ["0.1", "0.5"]
    assert list(table["gain"]) == ["", "-0.500 ± 0.000"]
    with pytest.raises(EmotionError, match="did you mean rate"):
        report.table(runs, against="rate/0.2")
    with pytest.raises(EmotionError, match=r"has no rat$"):
        report.table(runs, by="rat")


def test_corpora_that_were_judged_together_get_rows_of_their_own(tmp_path):
    make_run(tmp_path / "a", right=8, data="ravdess_tess")
    predictions = pd.read_csv(tmp_path / "a" / "predictions.csv")
    predictions["recording"] = [f"{'tess' if n < 8 else 'ravdess'}/{n}" for n in range(16)]
    predictions.to_csv(tmp_path / "a" / "predictions.csv", index=False)
    table = report.table(systems.find([tmp_path])).set_index("system")
    assert list(table["accuracy"]) == ["0.500", "0.000", "1.000"]
    assert list(table.index) == ["x", "x, on ravdess", "x, on tess"]


def test_what_cannot_be_compared_is_refused(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", fold=1, name="y", protocol="actor6")
    runs = systems.find([tmp_path])
    with pytest.raises(EmotionError, match="y and x judged other recordings"):
        report.table(runs, against="x")
    with pytest.raises(EmotionError, match="judged the same recordings"):
        report.table(runs, ensemble=True)


def test_runs_that_were_chosen_on_test_are_refused(tmp_path):
    make_run(tmp_path / "a", monitor="test/uar")
    with pytest.raises(EmotionError, match="chose its epoch on test"):
        systems.find([tmp_path])


def test_readers_are_warned(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", fold=1)
    make_run(tmp_path / "c", fold=2, name="y", protocol="random")
    warnings = report.warnings(report.compare(systems.find([tmp_path])))
    assert warnings == [
        "figures of different protocols (luna5, random) do not compare",
        "x: only 2 of 5 folds, so only some people were tested",
        "x: the interval is a guess, for it rests on 2 speakers",
        "y: only 1 of 5 folds, so only some people were tested",
    ]


def test_an_ensemble_averages_log_probabilities_of_all_runs(tmp_path):
    # Each alone is wrong somewhere; where two of three agree, they are right.
    for name, right in (("x", 16), ("y", 16), ("z", 0)):
        make_run(tmp_path / name, name=name, right=right)
    table = report.compare(systems.find([tmp_path]), ensemble=True).set_index("system")
    assert list(table["uar"]) == [1.0, 1.0, 0.0, 1.0]
    assert table.loc["ensemble", "model"] == "3 models"


def test_a_table_as_numbers_and_as_a_picture(tmp_path):
    for name in ("x", "y"):
        for fold in range(3):
            make_run(tmp_path / f"{name}{fold}", name=name, fold=fold, right=8 + fold, count=24)
    table = report.compare(systems.find([tmp_path]), against="x")
    assert (table["uar_low"] < table["uar"]).all()
    assert (table["uar"] < table["uar_high"]).all()
    assert table["gain"].tolist()[1:] == [0.0]
    assert table["p_clips"].tolist()[1:] == [1.0]
    figures.save(figures.systems_figure(table), tmp_path / "systems.png")
    assert cv2.imread(str(tmp_path / "systems.png")).shape[1] > 500


def test_mcnemar_counts_what_one_alone_names_right():
    truth = np.array(["sad"] * 20)
    one = pd.DataFrame({"recording": range(20), "emotion": truth, "predicted": ["sad"] * 15 + ["calm"] * 5})
    other = one.assign(predicted=["calm"] * 10 + ["sad"] * 8 + ["calm"] * 2)
    # Ten are right by one alone, three by the other.
    expected = scipy.stats.binomtest(10, 13).pvalue
    assert mcnemar(one, other) == mcnemar(other, one) == pytest.approx(expected)
    assert mcnemar(one, one) == 1.0


def test_holms_correction():
    corrected = holm(pd.Series([0.04, np.nan, 0.01, 0.03]))
    np.testing.assert_allclose(corrected, [0.06, np.nan, 0.03, 0.06])
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1.0, 1.0]


def test_a_validation_curve(tmp_path):
    for rate, uar in ((0.3, 0.5), (0.1, 0.9)):
        for seed in (0, 1):
            splits = {f"{split}/uar": uar + 0.1 * seed for split in ("train", "dev", "test")}
            make_run(tmp_path / f"{rate}-{seed}", seed=seed, rate=rate, **splits)
    curve = report.validation_curve(systems.find([tmp_path]), "rate")
    assert list(curve["rate"]) == [0.1, 0.3]
    np.testing.assert_allclose(curve["train"], [0.95, 0.55])
    np.testing.assert_allclose(curve["test deviation"], np.std([0, 0.1], ddof=1))


def test_people_are_what_is_compared(tmp_path):
    rng = np.random.default_rng(0)
    speakers = np.repeat([f"s{number:02}" for number in range(24)], 16)
    truth = np.tile(np.arange(8), 48)

    def judged(skill):
        right = rng.random(len(truth)) < np.repeat(skill, 16)
        predicted = np.where(right, truth, (truth + 1) % 8)
        names = np.array(EMOTIONS)
        return pd.DataFrame({"speaker": speakers, "emotion": names[truth], "predicted": names[predicted]})

    skill = rng.uniform(0.3, 0.7, 24)
    worse, better = [judged(skill) for _ in range(3)], [judged(skill + 0.2) for _ in range(3)]
    recalls = [np.mean(list(_recalls(worse, speaker))) for speaker in np.unique(speakers)]
    own = [np.mean(list(_recalls(better, speaker))) for speaker in np.unique(speakers)]
    expected = scipy.stats.wilcoxon(recalls, own).pvalue
    assert wilcoxon_over_speakers(worse, better, EMOTIONS) == pytest.approx(expected)
    assert expected < 0.001
    assert np.isnan(wilcoxon_over_speakers(worse, worse, EMOTIONS))
    elsewhere = [rows.assign(speaker="t" + rows["speaker"]) for rows in better]
    assert np.isnan(wilcoxon_over_speakers(worse, elsewhere, EMOTIONS))


def _recalls(seeds, speaker):
    for rows in seeds:
        own = rows[rows["speaker"] == speaker]
        yield sklearn.metrics.recall_score(own["emotion"], own["predicted"], average="macro")
