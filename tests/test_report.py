"""Tests of tables, statistics and pages of results."""

import json
from functools import partial

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
from emotion.metrics.predictions import table_uar
from emotion.plots.figure import save_figure
from emotion.plots.metrics import plot_systems
from emotion.reports.page import render_page
from emotion.reports.runs import find_runs, store_runs
from emotion.reports.summary import summary
from emotion.reports.tables import compare_systems, format_systems, table_warnings, validation_curve
from emotion.statistics.comparison import holm, mcnemar, wilcoxon_over_speakers


def make_run(folder, fold=0, seed=0, correct=8, count=16, rate=0.1, monitor="dev/uar", **changes):
    """Make a finished run in which `correct` of `count` test recordings are classified correctly."""
    folder.mkdir(parents=True)
    truth = np.arange(count) % 8
    predicted = np.where(np.arange(count) < correct, truth, (truth + 1) % 8)
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


def formatted(runs, key=None, **options):
    return format_systems(compare_systems(runs, key, **options), key)


@pytest.mark.slow
def test_pages_of_results_and_summary_are_up_to_date_with_committed_results():
    found = find_runs([ROOT / "results"])
    for name, description in (("results", "page"), ("what_helped", "what_helped")):
        page = render_page(found, ROOT / "results" / f"{description}.yaml")
        assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == page, name
    table = summary(found).to_csv(index=False, lineterminator="\n")
    assert (ROOT / "results" / "summary.csv").read_text(encoding="utf-8") == table


@pytest.mark.slow
def test_committed_results_match_their_protocols():
    runs = find_runs([ROOT / "results"])
    assert {run.metrics["protocol"] for run in runs} >= {"luna5", "random"}
    for run in runs:
        assert run.metrics["data"] != "demo"
        protocol = OmegaConf.load(ROOT / "conf" / "protocol" / f"{run.metrics['protocol']}.yaml")
        assert run.metrics["speaker_independent"] is protocol.speaker_independent
        folder = run.directory.relative_to(ROOT / "results").as_posix()
        assert run.metrics["name"] == folder or run.metrics["name"].startswith(f"{folder}/")
        assert run.config.data.name == run.metrics["data"]


def test_folds_with_the_same_test_recordings_are_averaged(tmp_path):
    for fold, correct in ((0, 16), (1, 8), (2, 8)):
        make_run(tmp_path / f"{fold}", fold=fold, correct=correct, epochs=0, parameters=fold)
        file = tmp_path / f"{fold}" / "predictions.csv"
        file.write_text(file.read_text().replace(f"ravdess/{fold}", "ravdess/0"))
    table = compare_systems(find_runs([tmp_path]))
    (row,) = format_systems(table).to_dict("records")
    assert row["accuracy"] == f"{np.mean([1, 0.5, 0.5]):.3f} ± {np.std([1, 0.5, 0.5], ddof=1):.3f}"
    assert (row["seeds"], row["recordings"], row["parameters"]) == ("1", "16", "1")
    assert "x: its folds test the same recordings, so metrics are means over 3 folds" in table_warnings(table)
    make_run(tmp_path / "again", fold=2, correct=8, epochs=0)
    with pytest.raises(EmotionError, match="has two predictions for one seed"):
        compare_systems(find_runs([tmp_path]))


def test_folds_are_pooled_over_recordings_and_seeds_averaged(tmp_path):
    for seed, correct in ((0, 16), (1, 8)):
        make_run(tmp_path / f"a{seed}", fold=0, seed=seed, correct=correct, count=16)
        make_run(tmp_path / f"b{seed}", fold=1, seed=seed, correct=8, count=32)
    (row,) = formatted(find_runs([tmp_path])).to_dict("records")
    assert row["accuracy"] == f"{(24 / 48 + 16 / 48) / 2:.3f} ± {np.std([24 / 48, 16 / 48], ddof=1):.3f}"
    assert (row["seeds"], row["recordings"]) == ("2", "48")
    assert row["folds"] == "**only 2 of 5**"


def test_systems_and_protocols_have_separate_rows(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", protocol="random", speaker_independent=False)
    make_run(tmp_path / "c", name="y")
    make_run(tmp_path / "d", transductive=True)
    protocols = formatted(find_runs([tmp_path]))["protocol"]
    assert sorted(protocols) == ["luna5", "luna5", "luna5 (transductive)", "random (speaker-dependent)"]


def test_duplicate_folds_are_refused(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    with pytest.raises(EmotionError, match="has two predictions"):
        formatted(find_runs([tmp_path]))


def test_runs_on_demo_are_not_reported(tmp_path):
    make_run(tmp_path / "a", data="demo")
    with pytest.raises(EmotionError, match="demo"):
        formatted(find_runs([tmp_path]))


def test_stored_results_equal_those_of_the_runs(tmp_path):
    for seed, correct in ((0, 16), (1, 8)):
        make_run(tmp_path / "runs" / f"{seed}", seed=seed, correct=correct, name=f"{seed}")
    counts = pd.DataFrame({"corruption": ["none"], "unit": [None], "level": [0.25], "speaker": ["1"], "sad": [3]})
    counts.to_csv(tmp_path / "runs" / "1" / "robustness.csv", index=False)
    runs = find_runs([tmp_path / "runs"])
    for _ in range(2):  # stored results can be stored again
        store_runs(runs, tmp_path / "kept")
        stored = find_runs([tmp_path / "kept"])
        assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
            "predictions.csv.xz", "robustness.csv.xz", "runs.json",
        ]  # fmt: skip
        pd.testing.assert_frame_equal(compare_systems(stored), compare_systems(runs))
        assert [run.setting("rate") for run in stored] == [0.1, 0.1]
        assert [run.config.seed for run in stored] == [0, 1]
        assert stored[0].robustness is None
        pd.testing.assert_frame_equal(stored[1].robustness, runs[1].robustness)
        runs = stored
    (tmp_path / "kept" / "runs.json").write_text("{}")
    with pytest.raises(EmotionError, match=r"runs\.json is damaged"):
        find_runs([tmp_path / "kept"])


def test_page_follows_its_configuration_file(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", name="y/z")
    runs = find_runs([tmp_path])
    head = "# Results\n\nTrained with version 0.1.0: all systems.\n\n## Systems\n\n|"
    assert render_page(runs).startswith(head)
    description = tmp_path / "page.yaml"
    sections = "- {title: S, runs: [y/*], text: Why.}\n- {title: N, runs: [n]}\n"
    description.write_text(f"title: T\nsections:\n{sections}")
    page = render_page(runs, description)
    assert page.startswith("# T\n\n") and "\n\n## S\n\nWhy.\n\n| system |" in page
    assert "| y/z |" in page and "| x |" not in page and "## N" not in page
    (tmp_path / "own.csv").write_text("system,macro_f1\nz,0.5\n")
    description.write_text("title: T\nsections: [{title: S, files: [own.csv]}, {title: N, files: []}]\n")
    assert render_page(runs, description).endswith("## S\n\n| system | macro f1 |\n| --- | --- |\n| z | 0.5 |\n")
    mistakes = {
        "files: [nothing.csv]": "nothing.csv cannot be shown",
        "tables: [system]": "did you mean systems",
        "kind: 1": "kind",
    }
    for option, message in (mistakes | {"tables: [hyperparameter]": "needs a key"}).items():
        description.write_text(f"title: T\nsections: [{{title: S, runs: [x], {option}}}]\n")
        with pytest.raises(EmotionError, match=message):
            render_page(runs, description)


def test_page_of_differences_is_sorted_and_has_intervals(tmp_path, command):
    for name, correct in (("reference", (8, 8, 8)), ("worse", (4, 4, 4)), ("better", (10, 12, 14))):
        for fold in range(3):
            make_run(tmp_path / "runs" / name / f"{fold}", fold=fold, correct=correct[fold], name=name)
    section = "{title: S, runs: ['*'], reference: reference, tables: [differences]}"
    description, page = tmp_path / "differences.yaml", tmp_path / "page.md"
    description.write_text(f"title: T\nsections: [{section}]\n")
    assert command("report", tmp_path / "runs", "--page", description, "--output", page).returncode == 0
    header, _, *rows = page.read_text().splitlines()[6:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, *rows)]
    assert cells[0][:3] == ["system", "ΔUAR", "95 % CI of ΔUAR"]
    assert [row[:2] for row in cells[1:]] == [["better", "+0.250"], ["worse", "-0.250"]]
    bounds = [[float(bound) for bound in row[2].partition(" (")[0].split(" to ")] for row in cells[1:]]
    assert -1 <= bounds[0][0] < 0.25 < bounds[0][1] <= 1 and bounds[1] == [-0.25, -0.25]
    assert "add --output" in command("report", tmp_path / "runs", "--page", description).stderr


@pytest.mark.parametrize(("text", "message"), [("{", "damaged"), ("{}", "lacks")])
def test_damaged_metrics_are_refused(tmp_path, text, message):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(EmotionError, match=message):
        find_runs([tmp_path])


def test_ensemble_over_seeds_averages_log_probabilities(tmp_path):
    # Two of three seeds are correct: the mean of the log-probabilities decides.
    for seed, correct in ((0, 16), (1, 16), (2, 0)):
        make_run(tmp_path / str(seed), seed=seed, correct=correct)
    (row,) = formatted(find_runs([tmp_path])).to_dict("records")
    assert row["UAR, ensemble over seeds"] == "1.000"
    assert row["UAR"].startswith("0.667 ± ")


def test_summary_has_a_row_for_each_system_and_ensemble(tmp_path):
    for seed, correct in ((0, 8), (1, 12)):
        make_run(tmp_path / f"{seed}", seed=seed, correct=correct, version="0.4.0")
        config = tmp_path / f"{seed}" / "config.yaml"
        config.write_text(config.read_text() + "model: {branches: {a: {input: features}, b: {input: action_units}}}\n")
    evaluation = {"name": "x_without_audio", "without": "audio", "transductive": True}
    make_run(tmp_path / "masked", **evaluation)
    (tmp_path / "masked" / "config.yaml").write_text((tmp_path / "0" / "config.yaml").read_text())
    table = summary(find_runs([tmp_path]))
    first = ["experiment", "data", "protocol", "labels", "modalities", "folds", "seeds", "ensemble", "transductive"]
    second = ["speaker_independent", "uar", "ci_low", "ci_high", "accuracy", "macro_f1", "parameters"]
    assert list(table.columns) == [*first, *second, "minutes_per_fold", "version"]
    mean, ensemble, masked = table.to_dict("records")
    assert mean["experiment"] == "x" and not mean["ensemble"] and mean["seeds"] == 2
    assert mean["modalities"] == "action_units+audio" and mean["version"] == "0.4.0"
    assert mean["uar"] == mean["accuracy"] == 0.625
    assert ensemble["ensemble"] and ensemble["parameters"] == 2 and ensemble["minutes_per_fold"] == 2.0
    assert (masked["modalities"], masked["transductive"], masked["version"]) == ("action_units", True, "0.1.0")


def test_incomplete_seeds_have_no_ensemble(tmp_path):
    for seed, fold in ((0, 0), (0, 1), (1, 0)):
        make_run(tmp_path / f"{seed}-{fold}", seed=seed, fold=fold)
    (row,) = formatted(find_runs([tmp_path])).to_dict("records")
    assert row["seeds"] == "2"
    assert "UAR, ensemble over seeds" not in row


def test_systems_are_grouped_by_a_key_and_compared_to_a_reference(tmp_path):
    for rate, correct in ((0.1, 16), (0.5, 8)):
        for seed in (0, 1):
            make_run(tmp_path / f"{rate}-{seed}", seed=seed, correct=correct - seed, rate=rate, name=f"rate/{rate}")
    runs = find_runs([tmp_path])
    table = formatted(runs, key="rate", reference="rate/0.1")
    assert list(table["rate"]) == ["0.1", "0.5"]
    assert list(formatted(runs[::-1], key="rate")["rate"]) == ["0.1", "0.5"]
    assert list(table["ΔUAR"]) == ["", "-0.500 ± 0.000"]
    with pytest.raises(EmotionError, match="did you mean rate"):
        formatted(runs, reference="rate/0.2")
    with pytest.raises(EmotionError, match=r"has no rat$"):
        formatted(runs, key="rat")


def test_combined_corpora_have_a_row_each(tmp_path):
    make_run(tmp_path / "a", correct=8, data="ravdess_tess")
    predictions = pd.read_csv(tmp_path / "a" / "predictions.csv")
    predictions["recording"] = [f"{'tess' if n < 8 else 'ravdess'}/{n}" for n in range(16)]
    predictions.to_csv(tmp_path / "a" / "predictions.csv", index=False)
    table = formatted(find_runs([tmp_path])).set_index("system")
    assert list(table["accuracy"]) == ["0.500", "0.000", "1.000"]
    assert list(table.index) == ["x", "x, on ravdess", "x, on tess"]


def test_different_recordings_cannot_be_compared(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", fold=1, name="y", protocol="actor6")
    runs = find_runs([tmp_path])
    with pytest.raises(EmotionError, match="y and x predicted different recordings"):
        formatted(runs, reference="x")
    with pytest.raises(EmotionError, match="predictions of the same recordings"):
        formatted(runs, ensemble=True)


def test_runs_selected_on_test_are_refused(tmp_path):
    make_run(tmp_path / "a", monitor="test/uar")
    with pytest.raises(EmotionError, match="selected its epoch on test"):
        find_runs([tmp_path])


def test_incomparable_and_incomplete_results_cause_warnings(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", fold=1)
    make_run(tmp_path / "c", fold=2, name="y", protocol="random")
    warnings = table_warnings(compare_systems(find_runs([tmp_path])))
    assert warnings == [
        "metrics of different protocols (luna5, random) are not comparable",
        "x: only 2 of 5 folds, so some speakers were not tested",
        "x: the interval is a rough estimate from 2 speakers",
        "y: only 1 of 5 folds, so some speakers were not tested",
    ]


def test_ensemble_averages_log_probabilities_of_all_runs(tmp_path):
    # The majority of the members decides.
    for name, correct in (("x", 16), ("y", 16), ("z", 0)):
        make_run(tmp_path / name, name=name, correct=correct)
    table = compare_systems(find_runs([tmp_path]), ensemble=True).set_index("system")
    assert list(table["uar"]) == [1.0, 1.0, 0.0, 1.0]
    assert table.loc["ensemble", "model"] == "3 models"
    grouped = formatted(find_runs([tmp_path]), key="rate", ensemble=True)
    assert list(grouped["rate"]) == ["0.1", "0.1", "0.1", ""]


def test_tables_with_intervals_are_plotted(tmp_path):
    for name in ("x", "y"):
        for fold in range(3):
            make_run(tmp_path / f"{name}{fold}", name=name, fold=fold, correct=8 + fold, count=24)
    table = compare_systems(find_runs([tmp_path]), reference="x")
    assert (table["uar_low"] < table["uar"]).all()
    assert (table["uar"] < table["uar_high"]).all()
    assert table["delta_uar"].tolist()[1:] == [0.0]
    assert table["p_mcnemar"].tolist()[1:] == [1.0]
    save_figure(plot_systems(table), tmp_path / "systems.png")
    assert cv2.imread(str(tmp_path / "systems.png")).shape[1] > 500


def test_mcnemar_uses_recordings_on_which_systems_differ():
    truth = np.array(["sad"] * 20)
    one = pd.DataFrame({"recording": range(20), "emotion": truth, "predicted": ["sad"] * 15 + ["calm"] * 5})
    other = one.assign(predicted=["calm"] * 10 + ["sad"] * 8 + ["calm"] * 2)
    # One system alone is correct on ten recordings, the other on three.
    expected = scipy.stats.binomtest(10, 13).pvalue
    assert mcnemar(one, other) == mcnemar(other, one) == pytest.approx(expected)
    assert mcnemar(one, one) == 1.0


def test_holm_correction_of_known_p_values():
    corrected = holm(pd.Series([0.04, np.nan, 0.01, 0.03]))
    np.testing.assert_allclose(corrected, [0.06, np.nan, 0.03, 0.06])
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1.0, 1.0]


def test_validation_curve_averages_over_seeds(tmp_path):
    for rate, uar in ((0.3, 0.5), (0.1, 0.9)):
        for seed in (0, 1):
            splits = {f"{split}/uar": uar + 0.1 * seed for split in ("train", "dev", "test")}
            make_run(tmp_path / f"{rate}-{seed}", seed=seed, rate=rate, **splits)
    curve = validation_curve(find_runs([tmp_path]), "rate")
    assert list(curve["rate"]) == [0.1, 0.3]
    np.testing.assert_allclose(curve["train"], [0.95, 0.55])
    np.testing.assert_allclose(curve["test_std"], np.std([0, 0.1], ddof=1))


def test_wilcoxon_compares_recalls_of_speakers():
    rng = np.random.default_rng(0)
    speakers = np.repeat([f"s{number:02}" for number in range(24)], 16)
    truth = np.tile(np.arange(8), 48)

    def predict(skill):
        correct = rng.random(len(truth)) < np.repeat(skill, 16)
        predicted = np.where(correct, truth, (truth + 1) % 8)
        names = np.array(EMOTIONS)
        return pd.DataFrame({"speaker": speakers, "emotion": names[truth], "predicted": names[predicted]})

    skill = rng.uniform(0.3, 0.7, 24)
    worse, better = [predict(skill) for _ in range(3)], [predict(skill + 0.2) for _ in range(3)]
    recalls = [np.mean(list(_recalls(worse, speaker))) for speaker in np.unique(speakers)]
    better_recalls = [np.mean(list(_recalls(better, speaker))) for speaker in np.unique(speakers)]
    expected = scipy.stats.wilcoxon(recalls, better_recalls).pvalue
    uar = partial(table_uar, classes=EMOTIONS)
    assert wilcoxon_over_speakers(worse, better, uar) == pytest.approx(expected)
    assert expected < 0.001
    assert np.isnan(wilcoxon_over_speakers(worse, worse, uar))
    other_speakers = [rows.assign(speaker="t" + rows["speaker"]) for rows in better]
    assert np.isnan(wilcoxon_over_speakers(worse, other_speakers, uar))


def _recalls(seeds, speaker):
    for rows in seeds:
        part = rows[rows["speaker"] == speaker]
        yield sklearn.metrics.recall_score(part["emotion"], part["predicted"], average="macro")


def test_sizes_of_an_installation_are_those_of_the_stored_table():
    page = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8").replace("`", "")
    for row in pd.read_csv(ROOT / "results" / "install_size.csv").itertuples():
        assert f"| {row.installed} | {row.megabytes:,.1f} |" in page
