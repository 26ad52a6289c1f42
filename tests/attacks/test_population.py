import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy as scipy_entropy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.svm import SVC

from harness.attacks.population import (
    best_threshold,
    class_thresholds,
    correctness,
    entropy,
    logistic_on_loss,
    m_entropy_salun,
    member_scores,
    modified_entropy,
    probabilities,
    svc,
)


def made(samples=200, classes=5, scale=2.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (samples, classes)), rng.integers(0, classes, samples)


def released_m_entropy(p, labels):
    """The form in use elsewhere: it indexes whole columns by the labels of the batch."""
    log_p = np.where(p > 0, np.log(np.where(p > 0, p, 1)), np.log(1e-30))
    weights = p.copy()
    weights[:, labels] = 1 - p[:, labels]
    return -(weights * log_p).sum(1)


class TestModifiedEntropy:
    def test_is_that_of_a_plain_loop_over_rows_and_classes(self):
        logits, labels = made()

        found = modified_entropy(logits, labels)

        for row, label, value in zip(logits, labels, found, strict=True):
            p = np.exp(log_softmax(row))
            wrong = sum(p[c] * np.log(1 - p[c]) for c in range(5) if c != label)
            expected = -(1 - p[label]) * np.log(p[label]) - wrong
            assert value == pytest.approx(expected, rel=1e-9)

    def test_of_a_row_does_not_depend_on_the_labels_beside_it(self):
        logits, labels = made()

        alone = [modified_entropy(logits[i : i + 1], labels[i : i + 1]) for i in (0, 7)]

        assert [*np.concatenate(alone)] == [*modified_entropy(logits, labels)[[0, 7]]]

    def test_is_least_where_a_row_is_sure_and_right_and_most_where_sure_and_wrong(self):
        logits = np.array([[800.0, 0, 0], [0, 0, 0], [0, 800, 0]])

        right, unsure, wrong = modified_entropy(logits, np.zeros(3, dtype=int))

        assert right == 0
        assert unsure == pytest.approx(2 / 3 * np.log(3) + 2 / 3 * np.log(1.5))
        assert wrong == pytest.approx(1600 - np.log(2))  # the wrong class leaves two others

    def test_is_infinite_where_a_difference_of_logits_exceeds_float64(self):
        logits = np.array([[1e308, -1e308], [-1e308, 1e308]])

        assert [*modified_entropy(logits, np.zeros(2, dtype=int))] == [0, np.inf]

    def test_follows_classes_when_they_are_permuted_and_ignores_a_common_constant(self):
        logits, labels = made()
        classes = np.array([3, 0, 4, 1, 2])

        found = modified_entropy(logits[:, classes] + 17, np.argsort(classes)[labels])

        np.testing.assert_allclose(found, modified_entropy(logits, labels), atol=1e-12)


class TestMEntropyAsReleased:
    @pytest.mark.parametrize("present", [[0, 1, 2, 3, 4], [1, 3], [2]])
    def test_is_the_released_form_whichever_labels_occur(self, present):
        logits, labels = made()
        labels = np.array(present)[labels % len(present)]

        found = m_entropy_salun(logits, labels)

        np.testing.assert_allclose(found, released_m_entropy(softmax(logits, axis=1), labels))

    def test_takes_probabilities_that_float32_rounds_to_zero_as_1e_30(self):
        logits = np.array([[200.0, 0, 0]])

        found = m_entropy_salun(logits, np.array([0]))

        p = torch.softmax(torch.from_numpy(logits).float(), dim=1).double().numpy()
        np.testing.assert_allclose(found, released_m_entropy(p, np.array([0])), atol=1e-9)

    def test_rises_with_the_confidence_where_the_correct_form_falls(self):
        logits, labels = np.diag([0.0, 1.0, 2.0, 3.0]), np.arange(4)

        assert np.all(np.diff(m_entropy_salun(logits, labels)) > 0)
        assert np.all(np.diff(modified_entropy(logits, labels)) < 0)


def test_the_entropy_is_scipys_also_where_probabilities_are_zero():
    logits = np.concatenate([made()[0], [[900.0, 0, 0, 0, 0], [1e308, -1e308, 0, 0, 0]]])

    found = entropy(logits)

    np.testing.assert_allclose(found[:-1], scipy_entropy(softmax(logits[:-1], axis=1), axis=1))
    assert [*found[-2:]] == [0, 0]


def test_a_sample_is_correct_if_the_first_of_its_largest_logits_is_the_labels():
    logits, labels = np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 2]]), np.array([0, 1, 2])

    assert [*correctness(logits, labels)] == [1, 0, 1]


def test_each_score_is_higher_for_samples_that_are_fitted_better():
    logits, labels = made(samples=4000)
    member = np.arange(4000) < 2000
    logits[np.flatnonzero(member), labels[member]] += 3

    aucs = {n: roc_auc_score(member, s) for n, s in member_scores(logits, labels).items()}

    assert [*aucs] == ["correctness", "confidence", "loss", "entropy", "modified_entropy"]
    assert min(aucs.values()) > 0.6
    assert aucs["confidence"] == pytest.approx(aucs["loss"], abs=1e-9)


def test_probabilities_are_the_softmax_and_need_finite_logits():
    logits, _ = made()
    broken = logits.copy()
    broken[3, 1] = np.nan

    np.testing.assert_allclose(probabilities(logits), softmax(logits, axis=1))
    with pytest.raises(ValueError, match="those of 1 of 200 samples are not"):
        probabilities(broken)


class TestBestThreshold:
    @pytest.mark.parametrize("decimals", [0, 1, 8])
    @pytest.mark.parametrize("seed", range(5))
    def test_is_that_of_a_loop_over_all_scores_ties_included(self, decimals, seed):
        rng = np.random.default_rng(seed)
        inside, outside = (
            rng.normal(0.5, 1, 60).round(decimals),
            rng.normal(0, 1, 83).round(decimals),
        )

        found = best_threshold(inside, outside)

        best, most = 0.0, 0.0
        for value in [*inside, *outside]:
            accuracy = 0.5 * ((inside >= value).sum() / 60 + (outside < value).sum() / 83)
            if accuracy > most:
                best, most = value, accuracy
        assert found == best

    def test_of_each_class_is_that_of_its_scores(self):
        rng = np.random.default_rng(0)
        inside, outside = rng.normal(0.5, 1, 90), rng.normal(0, 1, 60)
        of_inside, of_outside = np.arange(90) % 3, np.arange(60) % 3

        found = class_thresholds(inside, of_inside, outside, of_outside)

        assert found == {
            c: best_threshold(inside[of_inside == c], outside[of_outside == c]) for c in range(3)
        }

    def test_names_a_class_that_a_side_lacks(self):
        with pytest.raises(ValueError, match=r"nonmembers .* got none of class 1"):
            class_thresholds([1.0, 2.0], [0, 1], [1.0], [0])

    def test_refuses_a_side_without_scores(self):
        with pytest.raises(ValueError, match=r"nonmembers must be .* at least one sample"):
            best_threshold([1.0], [])


class TestLogisticOnLoss:
    def test_has_the_accuracies_of_the_starting_kits_splits(self):
        rng = np.random.default_rng(0)
        inside, outside = rng.exponential(0.5, 200), rng.exponential(1.0, 200)
        x, y = np.concatenate([outside, inside])[:, None], np.repeat([0, 1], 200)

        found = logistic_on_loss(inside, outside)

        expected = [
            (LogisticRegression().fit(x[train], y[train]).predict(x[test]) == y[test]).mean()
            for train, test in StratifiedShuffleSplit(n_splits=10, random_state=0).split(x, y)
        ]
        assert [*found] == pytest.approx(expected)
        assert 0.55 < found.mean() < 0.75

    def test_cuts_the_larger_side_so_that_guessing_is_a_half(self):
        rng = np.random.default_rng(0)

        found = logistic_on_loss(rng.exponential(1, 2000), rng.exponential(1, 400))

        assert found.shape == (10,)
        assert found.mean() == pytest.approx(0.5, abs=0.06)


class TestSvc:
    @pytest.mark.parametrize("feature", ["correctness", "confidence", "modified_entropy", "prob"])
    def test_is_scikit_learns_classifier_on_the_feature(self, feature):
        logits, labels = made(samples=700)
        logits[np.arange(300), labels[:300]] += 2
        every = {**member_scores(logits, labels), "prob": probabilities(logits)}[feature]
        parts = every[:300], every[300:600], every[600:]
        train, test = (p.reshape(len(p), -1) for p in (every[:600], every[600:]))

        taken = svc(*parts)

        fitted = SVC(C=3, gamma="auto", kernel="rbf").fit(train, np.arange(600) < 300)
        assert taken.mean() == pytest.approx(1 - fitted.predict(test).mean())

    def test_makes_no_difference_between_a_feature_and_its_negative(self):
        rng = np.random.default_rng(0)
        parts = rng.normal(1, 1, 100), rng.normal(0, 1, 100), rng.normal(0, 1, 50)

        np.testing.assert_array_equal(svc(*parts), svc(*(-part for part in parts)))

    def test_has_no_answer_for_no_forget_rows_and_needs_both_sides(self):
        assert svc([1.0, 2.0], [0.0], []).shape == (0,)
        with pytest.raises(ValueError, match="svc needs both sides; got 0 and 1 rows"):
            svc([], [1.0], [1.0])
