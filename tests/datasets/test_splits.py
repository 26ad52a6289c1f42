"""The forget, retain, held-out and non-member rows of a replicate."""

import hashlib
from dataclasses import replace

import pytest
import torch

from harness import (
    ClassFirst,
    ClassFraction,
    GivenRows,
    NumpyDraw,
    RandomFraction,
    Recipe,
    Replicate,
    Scenario,
    UserError,
    WholeClass,
)
from harness.datasets.splits import draw_nonmembers, split, training_rows

BASE = Scenario("s", "d", "b", Recipe(1, 0.1), RandomFraction(0.1))
TRAIN = torch.arange(200) % 5
TEST = torch.arange(83) % 5


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        (RandomFraction(0.1), 20),
        (WholeClass(2), 40),
        (ClassFraction(2, 0.5), 20),
        (ClassFirst(2, 0.5), 20),
        (GivenRows((7, 3)), 2),
        (NumpyDraw(0.1, seeds=(0,)), 20),
    ],
)
def test_forget_and_retain_rows_partition_the_train_set(rule, size):
    rows = split(replace(BASE, forget=rule), Replicate(0, 0), TRAIN, TEST)

    assert len(rows.forget) == size
    assert sorted([*rows.forget.tolist(), *rows.retain.tolist()]) == list(range(200))
    assert torch.equal(rows.forget, rows.forget.sort().values)
    if isinstance(rule, WholeClass | ClassFraction | ClassFirst):
        assert TRAIN[rows.forget].unique().tolist() == [2]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_first_of_a_class_are_the_same_rows_in_every_replicate(seed):
    found = split(replace(BASE, forget=ClassFirst(2, 0.34)), Replicate(seed, seed), TRAIN, TEST)

    assert found.forget.tolist() == list(range(2, 65, 5))  # the first 13 of 2, 7, …, 197


@pytest.mark.parametrize(
    ("seed", "first", "digest"),
    [
        (1, [26247, 35067, 34590, 16668, 12196, 2600], "ac2741b47406b3d7"),
        (10, [27632, 36119, 4796, 3648, 24501, 37885], "b2b86467c5e0495a"),
        (100, [4253, 30076, 48047, 1666, 30740, 13830], "c2af9c25dab1361f"),
    ],
)
def test_amuns_forget_sets_of_cifar10_are_the_published_index_files(seed, first, digest):
    """The first lines and the SHA-256 of the sorted rows of unlearn_indices/cifar/5000/seed_*.csv.

    https://github.com/Ali-E/AMUN at 7282329.
    """
    labels = torch.arange(50000) % 10

    found = split(replace(BASE, forget=NumpyDraw(0.1)), Replicate(0, seed), labels, TEST).forget

    text = ",".join(map(str, found.tolist()))
    assert len(found) == 5000
    assert {*first} <= {*found.tolist()}
    assert hashlib.sha256(text.encode()).hexdigest().startswith(digest)


def test_a_numpy_draw_has_no_forget_set_for_another_seed():
    with pytest.raises(UserError, match=r"seeds 1, 10, 100 alone; .* crossed=\(1, 10, 100\)"):
        split(replace(BASE, forget=NumpyDraw(0.1)), Replicate(1, 2), TRAIN, TEST)


def test_a_fraction_that_leaves_nothing_is_refused():
    with pytest.raises(
        UserError, match=r"the first 1% of class 2\) selected no rows; expected 1 to"
    ):
        split(replace(BASE, forget=ClassFirst(2, 0.01)), Replicate(0, 0), TRAIN, TEST)


def test_a_class_that_the_data_set_lacks_is_refused():
    with pytest.raises(UserError, match="forgets class 5, which data set 'd' lacks"):
        split(replace(BASE, forget=ClassFirst(5, 0.5)), Replicate(0, 0), TRAIN, TEST)


def test_the_forget_seed_determines_the_forget_set():
    draws = [split(BASE, Replicate(0, seed), TRAIN, TEST).forget for seed in (0, 0, 1)]

    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_the_seed_of_the_model_does_not_affect_the_draw():
    draws = [split(BASE, Replicate(seed, 5), TRAIN, TEST) for seed in (0, 1)]

    assert torch.equal(draws[0].forget, draws[1].forget)
    assert torch.equal(draws[0].nonmembers, draws[1].nonmembers)


@pytest.mark.parametrize(("access", "size"), [(1.0, 180), (0.1, 18), (0.0, 0)])
def test_a_method_sees_its_share_of_the_retain_set(access, size):
    rows = split(replace(BASE, retain_access=access), Replicate(0, 0), TRAIN, TEST)

    assert len(rows.visible) == size
    assert torch.isin(rows.visible, rows.retain).all()


def test_held_out_rows_are_neither_trained_on_nor_forgotten():
    scenario = replace(BASE, held_out=0.2)

    rows = split(scenario, Replicate(3, 4), TRAIN, TEST)
    members = training_rows(scenario, Replicate(3, 4), 200)

    assert len(rows.held_out) == 40
    assert not torch.isin(rows.held_out, members).any()
    assert sorted([*rows.forget.tolist(), *rows.retain.tolist()]) == members.tolist()


def test_nonmembers_are_as_many_as_possible_in_the_forget_sets_class_proportions():
    forget = torch.tensor([0] * 10 + [1] * 30)
    test = torch.tensor([0] * 50 + [1] * 60 + [2] * 9)

    rows = draw_nonmembers(forget, test, torch.Generator().manual_seed(0))

    assert torch.bincount(test[rows], minlength=3).tolist() == [20, 60, 0]
    assert len(rows.unique()) == len(rows)


def test_a_class_that_the_test_set_lacks_leaves_no_nonmembers():
    rows = draw_nonmembers(torch.tensor([4, 4]), torch.tensor([0, 1]), torch.Generator())

    assert len(rows) == 0


def test_an_unknown_class_is_a_user_error():
    with pytest.raises(UserError, match=r"forgets class 9.*classes are 0 to 4"):
        split(replace(BASE, forget=WholeClass(9)), Replicate(0, 0), TRAIN, TEST)


@pytest.mark.parametrize("rows", [(200,), (3, 10**12)])
def test_rows_outside_the_train_set_are_a_user_error(rows):
    with pytest.raises(UserError, match=r"1 of them are not in \[0, 200\)"):
        split(replace(BASE, forget=GivenRows(rows)), Replicate(0, 0), TRAIN, TEST)


def test_an_unknown_or_empty_class_is_rejected_with_the_names_of_the_classes():
    names = ("ant", "bee", "cat", "dog", "emu", "fox")

    for label, found in ((9, "class 9, which .* lacks"), (5, r"class 5 \(fox\), which .* has no")):
        scenario = replace(BASE, forget=ClassFraction(label, 0.5))
        with pytest.raises(UserError, match=f"forgets {found}.*its classes are ant, bee.* fox"):
            split(scenario, Replicate(0, 0), TRAIN, TEST, names)


def test_rows_outside_the_train_set_are_counted_and_one_is_named():
    with pytest.raises(UserError, match=r"3 rows; 2 of .*not in \[0, 200\).*'d', such as 200"):
        split(replace(BASE, forget=GivenRows((7, 200, 999))), Replicate(0, 0), TRAIN, TEST)


def test_given_rows_that_a_replicate_holds_out_are_rejected_with_their_number():
    scenario = replace(BASE, forget=GivenRows(range(100)), held_out=0.1)
    held_out = split(replace(BASE, held_out=0.1), Replicate(3, 3), TRAIN, TEST).held_out
    given = [row for row in held_out.tolist() if row < 100]

    with pytest.raises(
        UserError,
        match=f"GivenRows selected 100 rows; {len(given)} of them are held out with "
        f"seed 3, such as {given[0]}, .*expected held_out=0.0",
    ):
        split(scenario, Replicate(3, 3), TRAIN, TEST)


def test_given_rows_that_no_replicate_holds_out_are_all_forgotten():
    held_out = split(replace(BASE, held_out=0.1), Replicate(3, 3), TRAIN, TEST).held_out
    rows = sorted({*range(200)} - {*held_out.tolist()})[:50]

    found = split(replace(BASE, forget=GivenRows(rows), held_out=0.1), Replicate(3, 3), TRAIN, TEST)

    assert found.forget.tolist() == rows


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"held_out": 0.001},
            "held_out 0.001 of 200 rows comes to none; expected 0 or at least 0.005",
        ),
        ({"retain_access": 0.001}, "retain_access 0.001 of 180 rows comes to none"),
        ({"tuning": 0.01}, "tuning 0.01 of each class's test images comes to none"),
        ({"tuning": 0.99}, "tuning 0.99 leaves none of 83 test images to report"),
    ],
)
def test_a_share_that_comes_to_no_rows_is_a_user_error(fields, message):
    with pytest.raises(UserError, match=message):
        split(replace(BASE, **fields), Replicate(0, 0), TRAIN, TEST)


def test_forgetting_everything_or_nothing_is_a_user_error():
    for rule in (RandomFraction(0.001), GivenRows(tuple(range(200)))):
        with pytest.raises(UserError, match="expected 1 to 199 of 200"):
            split(replace(BASE, forget=rule), Replicate(0, 0), TRAIN, TEST)
