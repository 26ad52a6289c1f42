"""What a result says of the rows that have an example, and of those that have none."""

import pytest
import torch

from amun_plugin import Adversarial, AttackIncomplete, Status


def result(*status):
    n = len(status)
    numbers = torch.arange(n)
    return Adversarial(
        x=numbers[:, None].float(),
        label=numbers + 10,
        clean_label=numbers,
        distance=torch.zeros(n),
        radius=torch.zeros(n),
        status=torch.tensor(status, dtype=torch.uint8),
        gradients=numbers.int(),
        forwards=numbers.int(),
    )


def test_rows_with_an_example_are_found_or_were_wrong_already():
    found = result(*Status)

    assert found.ok.tolist() == [True, True, False, False, False]
    assert found.pairs()[0].tolist() == [[0.0], [1.0]]
    assert found.pairs()[1].tolist() == [10, 11]


def test_missing_examples_are_an_error_where_all_are_required():
    found = result(Status.FOUND, Status.NON_FINITE, Status.FOUND, Status.NOT_FOUND)

    words = r"2 of 4 samples.*'NOT_FOUND': 1.*'NON_FINITE': 1.*first rows: \[1, 3\]"
    with pytest.raises(AttackIncomplete, match=words):
        found.require_all()


def test_a_complete_result_is_given_back_as_it_is():
    found = result(Status.FOUND, Status.ALREADY_WRONG)

    assert found.require_all() is found
