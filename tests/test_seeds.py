"""One seed per run and one stream per purpose; global generators are left unchanged."""

import hashlib
import random

import numpy as np
import pytest
import torch

from harness.seeds import derive, seeded, stream


def drawn():
    """A number from each of the three global generators."""
    return torch.rand(1).item(), random.random(), float(np.random.random())  # noqa: NPY002


def global_state():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), (kind, keys.tolist(), *rest)


def test_a_seed_is_the_first_63_bits_of_the_hash():
    expected = int(hashlib.sha256(b"7/forget").hexdigest()[:16], 16) // 2

    assert derive(7, "forget") == expected


def test_no_two_seeds_or_purposes_share_a_stream():
    pairs = [(seed, purpose) for seed in range(200) for purpose in ("a", "b", "1/a", "")]

    found = {derive(seed, purpose) for seed, purpose in pairs}

    assert len(found) == len(pairs)
    assert all(0 <= value < 2**63 for value in found)


def test_the_streams_of_two_purposes_are_uncorrelated():
    n = 10_000
    weights, order = (torch.rand(n, generator=stream(3, name)) for name in ("weights", "order"))

    correlation = torch.corrcoef(torch.stack([weights, order]))[0, 1]

    assert abs(correlation) < 4 / n**0.5


def test_a_stream_is_reproducible_and_leaves_global_generators_unchanged():
    before = global_state()

    first, again = (torch.rand(5, generator=stream(3, "weights")) for _ in range(2))

    assert torch.equal(first, again)
    assert stream(3, "weights").device == torch.device("cpu")
    assert global_state() == before


def test_a_seeded_block_draws_the_same_numbers_whatever_came_before():
    with seeded(1, "purpose"):
        first = drawn()
    drawn()
    with seeded(1, "purpose"):
        again = drawn()
    with seeded(1, "another"):
        other = drawn()

    assert first == again
    assert not {*first} & {*other}


def test_a_seeded_block_restores_every_global_generator():
    drawn()
    before = global_state()

    with seeded(1, "purpose"):
        drawn()

    assert global_state() == before


def test_global_generators_are_restored_after_an_error():
    before = global_state()

    def fail():
        with seeded(1, "purpose"):
            raise ZeroDivisionError(drawn())

    with pytest.raises(ZeroDivisionError):
        fail()

    assert global_state() == before


def test_a_nested_block_does_not_affect_the_outer_stream():
    with seeded(1, "outer"):
        drawn()
        expected = drawn()

    with seeded(1, "outer"):
        drawn()
        with seeded(2, "inner"):
            drawn()
        found = drawn()

    assert found == expected
