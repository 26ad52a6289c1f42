"""Halves of a pool: balanced, nested and complementary; its audit samples are the rule's."""

from dataclasses import dataclass

import pytest
import torch

from harness import (
    ForgetRule,
    GivenRows,
    NumpyDraw,
    RandomFraction,
    Recipe,
    Replicate,
    Scenario,
    UserError,
    WholeClass,
)
from harness.datasets.halves import (
    audit_rows,
    first_replicate,
    half_rows,
    require_replays,
    split_of_half,
    states,
)
from harness.specs.evidence import FORGET, OUT, RETAIN

TENTH = RandomFraction(0.1)


def scenario(forget=TENTH, **changes):
    return Scenario("s", "d", "b", Recipe(1, 0.1), forget, **changes)


def labels(n):
    return torch.arange(n) % 5


@pytest.mark.parametrize("n", [100, 101])
@pytest.mark.parametrize("size", [4, 6, 16, 64])
def test_every_sample_is_in_the_training_sets_of_exactly_half_of_the_models(size, n):
    found = states(scenario(), labels(n), size)

    assert found.dtype == torch.int8
    assert ((found != OUT).sum(0) == size // 2).all()


@pytest.mark.parametrize("n", [100, 101])
def test_two_neighbouring_models_are_trained_on_complements_of_equal_size(n):
    for half in range(0, 8, 2):
        one, other = half_rows(n, half), half_rows(n, half + 1)

        assert torch.equal(torch.cat([one, other]).sort().values, torch.arange(n))
        assert (len(one), len(other)) == (n // 2, n - n // 2)


def test_pairs_of_models_have_splits_of_their_own():
    firsts = {tuple(half_rows(100, half).tolist()) for half in range(0, 64, 2)}

    assert len(firsts) == 32


def test_a_smaller_pool_is_the_beginning_of_a_larger_one():
    large = states(scenario(), labels(101), 64)

    for size in (4, 6, 16):
        assert torch.equal(states(scenario(), labels(101), size), large[:size])


@pytest.mark.parametrize("rule", [RandomFraction(0.1), WholeClass(2), GivenRows((1, 5, 60, 61))])
def test_audit_samples_are_forgotten_exactly_where_they_were_trained_on(rule):
    asked = scenario(rule)
    audited = torch.zeros(120, dtype=torch.bool)
    audited[audit_rows(asked, labels(120))] = True

    found = states(asked, labels(120), 6)

    assert (found[:, audited] != RETAIN).all()
    assert (found[:, ~audited] != FORGET).all()
    for half in range(6):
        rows = split_of_half(asked, half, labels(120))
        assert torch.equal(rows.forget, (found[half] == FORGET).nonzero()[:, 0])
        assert torch.equal(rows.retain, (found[half] == RETAIN).nonzero()[:, 0])
        assert torch.equal(rows.visible, rows.retain)
        assert len(rows.test) == len(rows.held_out) == len(rows.nonmembers) == 0


def test_a_class_rule_audits_the_whole_class_of_train_and_test_set():
    found = audit_rows(scenario(WholeClass(2)), labels(120))

    assert torch.equal(found, (labels(120) == 2).nonzero()[:, 0])


def test_a_random_rule_audits_its_share_of_train_and_test_set():
    assert len(audit_rows(scenario(RandomFraction(0.25)), labels(120))) == 30


def test_a_method_sees_the_granted_share_of_what_it_retains():
    asked = scenario(retain_access=0.5)
    rows = split_of_half(asked, 0, labels(120))

    assert len(rows.visible) == round(len(rows.retain) / 2)
    assert torch.isin(rows.visible, rows.retain).all()
    assert len(split_of_half(scenario(retain_access=0.0), 0, labels(120)).visible) == 0


def test_a_crossed_scenario_audits_with_its_first_seed():
    crossed = scenario(NumpyDraw(0.1), crossed=(10, 100), replicates=4)

    assert first_replicate(crossed) == Replicate(10, 10)
    assert first_replicate(scenario()) == Replicate(0, 0)
    assert len(audit_rows(crossed, labels(120))) == 12


@dataclass(frozen=True)
class Small(ForgetRule):
    """Forgets one row of the train set's eighty, and nothing of any other set."""

    kind = "random"

    def select(self, labels, members, generator):
        return members[:1] if len(labels) == 80 else members[:0]

    def describe(self, classes=()):
        return "one row"

    def substitute(self, labels):
        return self


def test_a_rule_that_selects_nothing_to_audit_is_an_error_of_one_line():
    with pytest.raises(UserError) as error:
        audit_rows(scenario(Small()), labels(120))

    assert "\n" not in str(error.value)
    assert "forget rule Small" in str(error.value)
    assert "(one row) selected no rows; expected 1 to 119 of 120" in str(error.value)


def test_a_replay_without_anything_to_forget_is_an_error_that_names_the_pool_model():
    with pytest.raises(UserError) as error:
        require_replays(scenario(GivenRows((7,))), labels(120), 4)

    half = next(half for half in range(4) if 7 not in half_rows(120, half))
    assert str(error.value) == (
        f"scenario 's': pool model {half + 1} is trained on 60 samples, of which its forget rule "
        f"selects 0; a replay needs at least 1, and another one to retain"
    )
