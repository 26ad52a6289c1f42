"""What holds of every protocol that needs a pool, replays or ensembles."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from margins import covers, ensembled, pooled, replayed

from harness.attacks.signals import logit_scaling
from harness.protocols import attack_r, forgetting_quality, klom, lira, rmia, u_lira
from harness.protocols.ensembles import margins_of
from harness.specs.evidence import Labels, Outputs

WITH_REFERENCES = [rmia, lira, attack_r]
MAKERS = {
    **dict.fromkeys(WITH_REFERENCES, pooled),
    u_lira: replayed,
    klom: ensembled,
    forgetting_quality: ensembled,
}
TAYLOR = "ft-auc-amun"
"""The one metric whose signal, a series, depends on a constant added to all logits."""


def name_of(module):
    return module.__name__.rsplit(".", 1)[-1]


each_protocol = pytest.mark.parametrize("module", MAKERS, ids=name_of)
with_references = pytest.mark.parametrize("module", WITH_REFERENCES, ids=name_of)


def only(module):
    (protocol,) = module.unlearning_protocols()
    return protocol


def references(given, **changes):
    return replace(given, references=replace(given.references, **changes))


def close(found, expected, within=1e-9):
    """Whether two measurements have the same values, intervals and notes."""
    return {*found} == {*expected} and all(
        (mine.note, mine.n) == (other.note, other.n)
        and (mine.value, mine.low, mine.high)
        == pytest.approx((other.value, other.low, other.high), abs=within)
        for mine, other in ((found[name], expected[name]) for name in found)
    )


@each_protocol
def test_it_returns_its_metrics_in_their_order(module):
    protocol = only(module)

    found = protocol.measure(MAKERS[module]())

    assert [*found] == [metric.name for metric in protocol.metrics]
    assert all(metric.meaning for metric in protocol.metrics)


@each_protocol
def test_without_what_it_needs_it_says_what_is_missing(module):
    protocol = only(module)
    (need,) = protocol.needs
    bare = replace(MAKERS[module](), **{need: None})

    for function in filter(None, (protocol.measure, protocol.summarise)):
        with pytest.raises(ValueError, match=f"the evidence has no {need}; .* list them in needs"):
            function(bare)


@with_references
def test_the_order_of_the_pools_models_does_not_count(module):
    given = pooled("original")
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    pool = given.references

    found = module.measure(references(given, logits=pool.logits[order], state=pool.state[order]))

    assert close(found, module.measure(given))


def test_neither_the_order_of_a_pools_splits_nor_that_of_the_two_models_of_one_counts():
    given = replayed("original")
    order = torch.tensor([5, 4, 0, 1, 7, 6, 2, 3])
    replays = given.replays
    moved = replace(replays, logits=replays.logits[order], state=replays.state[order])

    assert close(u_lira.measure(replace(given, replays=moved)), u_lira.measure(given))


@pytest.mark.parametrize(
    ("module", "names"),
    [(klom, klom.SETS), (forgetting_quality, ("score", "final"))],
    ids=["klom", "forgetting_quality"],
)
def test_the_order_of_an_ensembles_models_does_not_count(module, names):
    given = ensembled("original")
    turned = replace(given.ensembles, unlearned=given.ensembles.unlearned[::-1])

    found = module.measure(replace(given, ensembles=turned))

    expected = module.measure(given)
    assert [found[name].value for name in names] == pytest.approx(
        [expected[name].value for name in names]
    )


@with_references
def test_a_constant_added_to_all_logits_of_a_sample_does_not_count(module):
    given = pooled("original")
    pool = given.references
    shift = torch.randint(-6, 7, (len(pool.labels), 1))  # float16 stays exact
    moved = references(given, logits=pool.logits + shift, everything=pool.everything + shift)
    expected, found = module.measure(given), module.measure(moved)

    same = {name: found[name] for name in found if name != TAYLOR}
    assert close(same, {name: expected[name] for name in same})


def shifted(outputs):
    parts = (outputs.forget, outputs.retain, outputs.test)
    return Outputs(*(part + torch.arange(len(part))[:, None] % 5 for part in parts))


@pytest.mark.parametrize("module", [klom, forgetting_quality], ids=name_of)
def test_a_constant_added_to_all_logits_of_an_ensembles_sample_does_not_count(module):
    given = ensembled("original")
    models = replace(
        given.ensembles, unlearned=tuple(shifted(each) for each in given.ensembles.unlearned)
    )

    assert close(
        module.measure(replace(given, ensembles=models)), module.measure(given), within=1e-5
    )


def test_a_constant_added_to_all_logits_of_a_replayed_sample_does_not_count():
    given = replayed("original")
    shift = torch.randint(-6, 7, (len(given.replays.labels), 1))
    moved = replace(given.replays, logits=given.replays.logits + shift)

    assert close(u_lira.measure(replace(given, replays=moved)), u_lira.measure(given))


@with_references
def test_a_pool_in_float16_is_measured_like_the_same_numbers_in_float32(module):
    given = pooled("original")
    assert given.references.logits.dtype == torch.float16
    exact = references(given, logits=given.references.logits.float())

    assert module.measure(exact) == module.measure(given)


@with_references
def test_rounding_to_float16_hardly_moves_a_value(module):
    given = pooled("original")
    noise = torch.randn(given.references.logits.shape, generator=torch.Generator().manual_seed(0))
    finer = given.references.logits.float() + noise / 1000
    expected = module.measure(references(given, logits=finer))

    found = module.measure(references(given, logits=finer.half()))

    for name, estimate in found.items():
        if estimate.value is not None:
            assert estimate.value == pytest.approx(expected[name].value, abs=0.3), name


@with_references
def test_the_interval_covers_guessing_in_about_95_percent_of_perfect_unlearners(module):
    found = [
        module.measure(pooled(seed=seed, models=4, forget=60, retain=20, test=120))
        for seed in range(200)
    ]

    for name in (name for name in found[0] if name.startswith("ft-auc")):
        assert 0.92 <= np.mean([covers(each[name]) for each in found]) <= 0.985, name
        assert np.mean([each[name].value for each in found]) == pytest.approx(50, abs=1.1), name


@with_references
def test_memory_is_linear_in_samples_and_references(module):
    given = pooled(models=8, forget=1000, retain=9000, test=10_000)
    module.measure(given)  # imports what it needs
    tracemalloc.start()

    module.measure(given)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16e6 + 40 * given.references.state.numel()


@with_references
@pytest.mark.parametrize("part", ["everything", "labels", "logits"])
def test_a_pool_of_another_number_of_samples_is_refused(module, part):
    given = pooled()
    short = getattr(given.references, part)
    short = short[:, :-1] if part == "logits" else short[:-1]

    with pytest.raises(ValueError, match=r"must .*got"):
        module.measure(references(given, **{part: short}))


@pytest.mark.parametrize("module", [lira, attack_r], ids=name_of)
def test_a_state_of_another_shape_is_refused(module):
    given = pooled()

    with pytest.raises(ValueError, match=r"must .*got"):
        module.measure(references(given, state=given.references.state[:-1]))


def test_replays_with_a_state_of_another_shape_are_refused():
    given = replayed()
    short = replace(given.replays, state=given.replays.state[:, :-1])

    with pytest.raises(ValueError, match=r"state must be \(8, 60\), as phi is; got \(8, 59\)"):
        u_lira.measure(replace(given, replays=short))


@pytest.mark.parametrize("module", [klom, forgetting_quality], ids=name_of)
def test_ensembles_with_labels_of_another_number_are_refused(module):
    given = ensembled()
    labels = given.ensembles.labels
    short = Labels(labels.forget[:-1], labels.retain, labels.test)

    with pytest.raises(ValueError, match=r"labels must be \(12,\), one a sample; got \(11,\)"):
        module.measure(replace(given, ensembles=replace(given.ensembles, labels=short)))


@with_references
def test_logits_that_are_not_finite_are_counted_and_refused(module):
    given = pooled()
    broken = given.references.logits.clone()
    broken[3, 10:12] = torch.nan

    with pytest.raises(ValueError, match="logits must be finite; those of 2 of "):
        module.measure(references(given, logits=broken))


def test_margins_of_an_ensemble_are_those_of_its_images_in_order():
    models = ensembled(sizes=(12, 40, 30)).ensembles

    found = margins_of(models.unlearned, models.labels, "retain", 40)

    assert found.shape == (8, 40)
    for row, outputs in zip(found, models.unlearned, strict=True):
        expected = logit_scaling(outputs.retain.numpy(), models.labels.retain.numpy())
        assert row == pytest.approx(expected)


def test_of_more_images_than_the_limit_a_fixed_draw_is_taken_in_order():
    models = ensembled(sizes=(12, 40, 30)).ensembles
    whole = margins_of(models.unlearned, models.labels, "retain", 40)

    found = margins_of(models.unlearned, models.labels, "retain", 15)
    other = margins_of(models.retrained, models.labels, "retain", 15)

    every = margins_of(models.retrained, models.labels, "retain", 40)
    columns = [int(np.flatnonzero(whole[0] == value)[0]) for value in found[0]]
    assert columns == sorted({*columns})
    assert (found == whole[:, columns]).all()
    assert (other == every[:, columns]).all()
