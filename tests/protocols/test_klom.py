"""KLOM against histograms by numpy, image by image, on margins made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from margins import ensembled
from scipy import stats
from scipy.special import logsumexp

from harness.protocols import klom
from harness.protocols.klom import SETS, measure

KINDS = "retrained", "original", "over-forgotten"


def margins(models, labels, name):
    """Model by model, ``(N, n)``."""
    own = getattr(labels, name).tolist()
    return np.array(
        [
            [z[y] - logsumexp(np.delete(z, y)) for z, y in zip(logits, own, strict=True)]
            for logits in (getattr(each, name).double().numpy() for each in models)
        ]
    )


def by_image(unlearned, retrained):
    """KL(retrained ‖ unlearned) of counts in five bins over the joint range."""
    found = []
    for u, r in zip(unlearned.T, retrained.T, strict=True):
        edges = np.linspace(min(*u, *r), max(*u, *r), 6)
        q, p = (np.histogram(each, edges)[0] / len(each) for each in (u, r))
        found.append(stats.entropy(p, np.where(p > 0, np.maximum(q, 1e-5), q)))
    return np.array(found)


def of_both(given, name):
    models = given.ensembles
    return (margins(side, models.labels, name) for side in (models.unlearned, models.retrained))


@pytest.mark.parametrize("unlearner", KINDS)
def test_the_value_of_each_set_is_the_mean_divergence_over_its_images(unlearner):
    given = ensembled(unlearner)

    found = measure(given)

    for name in SETS:
        expected = by_image(*of_both(given, name))
        assert found[name].value == pytest.approx(expected.mean())
        assert found[name].n == len(expected)


def test_the_null_is_what_random_halves_of_all_models_show():
    given = ensembled("original", models=10)
    rng = np.random.default_rng(7)
    unlearned, retrained = of_both(given, "forget")
    every, means = np.concatenate([unlearned, retrained]), []
    for _ in range(400):
        order = rng.permutation(len(every))
        means.append(by_image(every[order[:10]], every[order[10:]]).mean())

    found = measure(given)["null-forget"]

    assert found.value == pytest.approx(np.mean(means), abs=0.15)
    assert found.high == pytest.approx(np.quantile(means, 0.95), abs=0.3)
    assert found.low == 0


def test_a_perfect_unlearner_exceeds_its_null_in_about_one_case_in_twenty():
    found = [measure(ensembled(seed=seed, sizes=(12, 2, 2))) for seed in range(60)]

    above = [each["forget"].value > each["null-forget"].high for each in found]
    assert sum(above) <= stats.binom.ppf(0.99, len(found), 0.05)
    assert np.mean([each["forget"].value for each in found]) == pytest.approx(
        np.mean([each["null-forget"].value for each in found]), abs=0.1
    )


@pytest.mark.parametrize("unlearner", KINDS[1:])
def test_wrong_margins_exceed_the_null_on_the_forget_set_alone(unlearner):
    found = measure(ensembled(unlearner, models=16, sizes=(60, 60, 60)))

    assert found["forget"].value > found["null-forget"].high
    for name in ("retain", "test"):
        assert found[name].value < found[f"null-{name}"].high


def test_of_a_large_set_the_same_images_are_taken_each_time(monkeypatch):
    given = ensembled("original", sizes=(12, 50, 30))
    monkeypatch.setattr(klom, "IMAGES", 30)

    found = measure(given)

    assert (found["retain"].n, found["test"].n, found["forget"].n) == (30, 30, 12)
    assert measure(given) == found
    values = by_image(*of_both(given, "retain"))
    assert values.min() < found["retain"].value < values.max()
    assert found["retain"].value != pytest.approx(values.mean())
    assert found["test"].value == pytest.approx(by_image(*of_both(given, "test")).mean())


def test_a_method_without_retain_images_has_values_on_the_other_sets():
    found = measure(ensembled(sizes=(12, 0, 10)))

    assert (found["retain"].value, found["retain"].note) == (None, "no retain images")
    assert found["null-retain"].note == "no retain images"
    assert found["forget"].value is not None


def test_two_or_three_models_have_no_null_and_so_no_value():
    given = ensembled(models=4)

    found = measure(ensembled(models=3))

    assert {each.note for each in found.values()} == {"not measurable at N = 3"}
    assert measure(given)["forget"].value is not None


def test_ensembles_of_different_sizes_are_refused():
    given = ensembled()
    fewer = replace(given.ensembles, retrained=given.ensembles.retrained[:-1])

    with pytest.raises(ValueError, match=r"with the same N and n; got \(8, 12\) and \(7, 12\)"):
        measure(replace(given, ensembles=fewer))
