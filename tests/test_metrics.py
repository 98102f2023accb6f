"""Tests of metrics against scikit-learn and audmetric."""

import warnings

import audmetric
import numpy as np
import pytest
from sklearn import metrics as reference

from emotion import metrics
from emotion.errors import EmotionError


def random_case(seed, size=200, num_classes=8):
    random = np.random.default_rng(seed)
    truth = random.integers(num_classes, size=size)
    scores = random.dirichlet(np.ones(num_classes), size=size)
    return truth, scores, scores.argmax(axis=1)


CASES = {f"random {seed}": random_case(seed) for seed in range(5)}
CASES["a class without recordings"] = tuple(part[CASES["random 0"][0] != 3] for part in CASES["random 0"])
CASES["one class only"] = tuple(part[CASES["random 1"][0] == 2] for part in CASES["random 1"])
CASES["one recording"] = tuple(part[:1] for part in CASES["random 2"])


@pytest.mark.parametrize("case", CASES)
def test_metrics_equal_scikit_learn(case):
    truth, scores, predicted = CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        uar = reference.balanced_accuracy_score(truth, predicted)
        macro_f1 = reference.f1_score(truth, predicted, average="macro")
        recalls = reference.recall_score(truth, predicted, labels=range(8), average=None, zero_division=np.nan)
        precisions = reference.precision_score(truth, predicted, labels=range(8), average=None, zero_division=np.nan)
    matrix = reference.confusion_matrix(truth, predicted, labels=range(8))
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, predicted, 8), matrix)
    assert metrics.unweighted_average_recall(truth, predicted, 8) == pytest.approx(uar)
    assert metrics.weighted_average_recall(truth, predicted, 8) == pytest.approx((truth == predicted).mean())
    assert metrics.macro_f1(truth, predicted, 8) == pytest.approx(macro_f1)
    np.testing.assert_allclose(metrics.recall_per_class(truth, predicted, 8), recalls)
    np.testing.assert_allclose(metrics.precision_per_class(truth, predicted, 8), precisions)
    assert metrics.log_loss(truth, scores) == pytest.approx(reference.log_loss(truth, scores, labels=range(8)))


@pytest.mark.parametrize("case", CASES)
def test_metrics_equal_audmetric(case):
    truth, _, predicted = CASES[case]
    labels = list(range(8))
    recalls = audmetric.recall_per_class(truth, predicted, labels=labels)
    precisions = audmetric.precision_per_class(truth, predicted, labels=labels)
    f1 = audmetric.fscore_per_class(truth, predicted, labels=labels)
    # audmetric counts a class without recordings as 0; here it is NaN and left out of averages.
    for expected, metric in ((recalls, metrics.recall_per_class), (precisions, metrics.precision_per_class)):
        values = metric(truth, predicted, 8)
        assert {label: value for label, value in enumerate(values) if not np.isnan(value)} == {
            label: pytest.approx(expected[label]) for label in labels if not np.isnan(values[label])
        }
    uar = np.mean([recalls[label] for label in set(truth)])
    assert metrics.unweighted_average_recall(truth, predicted, 8) == pytest.approx(uar)
    assert metrics.weighted_average_recall(truth, predicted, 8) == pytest.approx(audmetric.accuracy(truth, predicted))
    macro_f1 = np.mean([f1[label] for label in {*truth, *predicted}])
    assert metrics.macro_f1(truth, predicted, 8) == pytest.approx(macro_f1)


def test_ties_go_to_the_first_class():
    tied = np.full((3, 4), 0.25)
    assert metrics.classification_metrics(np.array([0, 0, 1]), tied, tuple("abcd"))["war"] == pytest.approx(2 / 3)


def test_calibration_error_of_known_probabilities():
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(4), size=100_000)
    truth = (scores.cumsum(axis=1) < random.random((len(scores), 1))).sum(axis=1)  # drawn from the probabilities
    assert metrics.expected_calibration_error(truth, scores) < 0.01
    certain = np.eye(3)[[0, 1, 2]]
    assert metrics.expected_calibration_error(np.arange(3), certain) == 0
    assert metrics.expected_calibration_error(np.array([1, 2, 0]), certain) == 1
    # Accuracy is 0.5 at a confidence of 0.9, and 1 at 0.6.
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    assert metrics.expected_calibration_error(np.array([0, 1, 1, 1]), scores) == pytest.approx((0.4 + 0.4) / 2)


def test_the_log_loss_of_a_certain_error_is_finite():
    assert metrics.log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-np.log(1e-12))


def test_metrics_leave_out_absent_classes():
    summary = metrics.classification_metrics(
        np.array([0, 1]), np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]]), ("a", "b", "c")
    )
    assert summary["uar"] == 0.5
    assert {key for key in summary if key.startswith("recall")} == {"recall/a", "recall/b"}


@pytest.mark.parametrize(
    ("truth", "predicted", "words"),
    [
        ([], [], "no recordings"),
        ([0, 1], [0], "do not match"),
        ([0, 2], [0, 1], "not in 0 to 1"),
        ([-1], [0], "not in"),
    ],
)
def test_invalid_class_indices_are_refused(truth, predicted, words):
    with pytest.raises(EmotionError, match=words):
        metrics.unweighted_average_recall(np.array(truth, int), np.array(predicted, int), 2)
