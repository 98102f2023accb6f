"""Intervals over speakers, and what a model does for whom."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from emotion.corpora.fer2013 import Fer2013
from emotion.corpora.ravdess import Ravdess
from emotion.labels import EMOTIONS
from emotion.metrics.breakdown import by_emotion, by_group
from emotion.statistics.comparison import uar
from emotion.statistics.intervals import over_speakers

CLIPS = 60


def simulate(random, speakers, deviation=0.8):
    """A corpus in which some people are recognised more easily than others, in all of their recordings."""
    ease = random.normal(0.3, deviation, speakers)
    right = random.random((speakers, CLIPS)) < 1 / (1 + np.exp(-ease[:, None]))
    return pd.DataFrame({"speaker": np.repeat(np.arange(speakers), CLIPS), "right": right.ravel()})


def accuracy(rows):
    return rows["right"].to_numpy().mean()


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [24, 10])
def test_the_interval_covers_the_truth_and_that_over_clips_does_not(speakers):
    random = np.random.default_rng(7)
    truth = accuracy(simulate(random, 100_000))
    corpora = [simulate(random, speakers) for _ in range(500)]
    intervals = [over_speakers([corpus], accuracy) for corpus in corpora]
    assert 0.92 <= np.mean([low <= truth <= high for _, low, high, _ in intervals]) <= 0.97
    values = np.array([interval.value for interval in intervals])
    reach = 1.96 * np.sqrt(values * (1 - values) / (speakers * CLIPS))
    assert np.mean(abs(values - truth) <= reach) < 0.7


def test_of_a_mean_over_speakers_it_is_students():
    corpus = simulate(np.random.default_rng(0), 24)
    value, low, high, speakers = over_speakers([corpus], accuracy)
    expected = ttest_1samp(corpus.groupby("speaker")["right"].mean(), 0).confidence_interval(0.95)
    assert (value, speakers) == (pytest.approx(corpus["right"].mean()), 24)
    assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_more_seeds_are_not_more_people():
    corpus = simulate(np.random.default_rng(1), 12)
    assert over_speakers([corpus] * 3, accuracy) == pytest.approx(over_speakers([corpus], accuracy))


def test_one_person_has_no_interval():
    value, low, high, speakers = over_speakers([simulate(np.random.default_rng(2), 1)], accuracy)
    assert 0 < value < 1
    assert np.isnan([low, high]).all()
    assert speakers == 1


@pytest.fixture
def judged():
    """All of RAVDESS speech, judged at random."""
    recordings = pd.DataFrame(Ravdess().documented()).query("channel == 'speech'")
    random = np.random.default_rng(3)
    guessed = random.choice(EMOTIONS, len(recordings))
    predicted = np.where(random.random(len(recordings)) < 0.5, recordings["emotion"], guessed)
    return recordings[["recording", "speaker", "emotion"]].assign(predicted=predicted), recordings


def test_groups_are_those_of_the_corpus(judged):
    predictions, recordings = judged
    table = by_group([predictions], recordings, EMOTIONS, Ravdess().human_accuracy(["sound"], "speech"))
    table = table.set_index("group")
    assert list(table.index[:7]) == [
        "all", "gender female", "gender male", "intensity normal", "intensity strong", "statement 01", "statement 02",
    ]  # fmt: skip
    assert list(table["recordings"][:5]) == [1440, 720, 720, 768, 672]
    assert table.index.str.startswith("speaker ").sum() == 24
    female = predictions[recordings["gender"].to_numpy() == "female"]
    assert table.loc["gender female", "uar"] == pytest.approx(uar(female, EMOTIONS))
    assert table.loc["all", "low"] < table.loc["all", "uar"] < table.loc["all", "high"]
    assert table["people"].dropna().to_dict() == {"all": 0.62, "intensity normal": 0.58, "intensity strong": 0.67}


def test_emotions_are_taken_for_others(judged):
    predictions, _ = judged
    predictions.loc[predictions["emotion"] == "sad", "predicted"] = "calm"
    table = by_emotion(predictions, EMOTIONS).set_index("emotion")
    assert table.loc["sad", "recall"] == 0
    assert table.loc["sad", "taken for"] == "calm"
    assert table.loc["calm", "precision"] < table.loc["calm", "recall"]
    assert list(table["recordings"]) == [96] + 7 * [192]


@pytest.mark.parametrize(
    ("modalities", "accuracy"), [(["sound"], 0.62), (["faces"], 0.75), (["sound", "action_units"], 0.80)]
)
def test_people_hear_and_see_what_the_model_does(modalities, accuracy):
    assert Ravdess().human_accuracy(modalities, "speech")["all"] == accuracy
    assert Ravdess().human_accuracy(modalities, "song") == {}
    assert Fer2013(votes="table.csv").human_accuracy(["faces"], "speech") == {}
