"""Tests of confidence intervals over speakers and of metrics by emotion and by group."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from emotion.corpora.fer2013 import Fer2013
from emotion.corpora.ravdess import Ravdess
from emotion.labels import EMOTIONS
from emotion.metrics.breakdown import metrics_by_emotion, metrics_by_group
from emotion.metrics.predictions import table_uar
from emotion.statistics.comparison import difference_ci
from emotion.statistics.intervals import speaker_jackknife_ci

CLIPS = 60


def simulate(random, speakers, std=0.8):
    """Return a corpus whose speakers differ in accuracy."""
    ease = random.normal(0.3, std, speakers)
    correct = random.random((speakers, CLIPS)) < 1 / (1 + np.exp(-ease[:, None]))
    return pd.DataFrame({"speaker": np.repeat(np.arange(speakers), CLIPS), "correct": correct.ravel()})


def accuracy(rows):
    return rows["correct"].to_numpy().mean()


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [24, 10])
def test_jackknife_interval_covers_the_true_accuracy_unlike_one_over_recordings(speakers):
    random = np.random.default_rng(7)
    truth = accuracy(simulate(random, 100_000))
    corpora = [simulate(random, speakers) for _ in range(500)]
    intervals = [speaker_jackknife_ci([corpus], accuracy) for corpus in corpora]
    assert 0.92 <= np.mean([low <= truth <= high for _, low, high, _ in intervals]) <= 0.97
    values = np.array([interval.value for interval in intervals])
    margin = 1.96 * np.sqrt(values * (1 - values) / (speakers * CLIPS))
    assert np.mean(abs(values - truth) <= margin) < 0.7


def test_interval_of_a_mean_over_speakers_equals_students_t():
    corpus = simulate(np.random.default_rng(0), 24)
    value, low, high, speakers = speaker_jackknife_ci([corpus], accuracy)
    expected = ttest_1samp(corpus.groupby("speaker")["correct"].mean(), 0).confidence_interval(0.95)
    assert (value, speakers) == (pytest.approx(corpus["correct"].mean()), 24)
    assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_seeds_do_not_count_as_speakers():
    corpus = simulate(np.random.default_rng(1), 12)
    assert speaker_jackknife_ci([corpus] * 3, accuracy) == pytest.approx(speaker_jackknife_ci([corpus], accuracy))


def test_interval_of_a_difference_equals_students_t_of_pairs():
    random = np.random.default_rng(4)
    first, second = simulate(random, 24), simulate(random, 24, std=0.1)
    value, low, high, speakers = difference_ci([first], [second], accuracy)
    by_speaker = (rows.groupby("speaker")["correct"].mean() for rows in (first, second))
    paired = ttest_rel(*by_speaker)
    expected = paired.confidence_interval(0.95)
    assert (value, speakers) == (pytest.approx(accuracy(first) - accuracy(second)), 24)
    assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert difference_ci([second], [first], accuracy)[:3] == pytest.approx((-value, -high, -low))


def test_a_single_speaker_has_no_interval():
    value, low, high, speakers = speaker_jackknife_ci([simulate(np.random.default_rng(2), 1)], accuracy)
    assert 0 < value < 1
    assert np.isnan([low, high]).all()
    assert speakers == 1


@pytest.fixture
def random_predictions():
    """Return random predictions of all RAVDESS speech, and its recordings."""
    recordings = pd.DataFrame(Ravdess().documented()).query("channel == 'speech'")
    random = np.random.default_rng(3)
    guessed = random.choice(EMOTIONS, len(recordings))
    predicted = np.where(random.random(len(recordings)) < 0.5, recordings["emotion"], guessed)
    return recordings[["recording", "speaker", "emotion"]].assign(predicted=predicted), recordings


def test_groups_equal_those_of_the_corpus(random_predictions):
    predictions, recordings = random_predictions
    table = metrics_by_group([predictions], recordings, EMOTIONS, Ravdess().human_accuracy(["audio"], "speech"))
    table = table.set_index("group")
    assert list(table.index[:7]) == [
        "all", "gender female", "gender male", "intensity normal", "intensity strong", "statement 01", "statement 02",
    ]  # fmt: skip
    assert list(table["recordings"][:5]) == [1440, 720, 720, 768, 672]
    assert table.index.str.startswith("speaker ").sum() == 24
    female = predictions[recordings["gender"].to_numpy() == "female"]
    assert table.loc["gender female", "uar"] == pytest.approx(table_uar(female, EMOTIONS))
    assert table.loc["all", "uar_low"] < table.loc["all", "uar"] < table.loc["all", "uar_high"]
    human = table["human_accuracy"].dropna().to_dict()
    assert human == {
        "all": 0.62,
        "intensity normal": 0.58,
        "intensity strong": 0.67,
    }


def test_the_most_frequent_confusion_is_named(random_predictions):
    predictions, _ = random_predictions
    predictions.loc[predictions["emotion"] == "sad", "predicted"] = "calm"
    table = metrics_by_emotion(predictions, EMOTIONS).set_index("emotion")
    assert table.loc["sad", "recall"] == 0
    assert table.loc["sad", "confused_with"] == "calm"
    assert table.loc["calm", "precision"] < table.loc["calm", "recall"]
    assert list(table["recordings"]) == [96] + 7 * [192]


@pytest.mark.parametrize(
    ("modalities", "accuracy"), [(["audio"], 0.62), (["face"], 0.75), (["audio", "action_units"], 0.80)]
)
def test_human_accuracy_depends_on_the_modalities_of_the_model(modalities, accuracy):
    assert Ravdess().human_accuracy(modalities, "speech")["all"] == accuracy
    assert Ravdess().human_accuracy(modalities, "song") == {}
    assert Fer2013(votes="table.csv").human_accuracy(["face"], "speech") == {}
