"""The call: what it takes, what it refuses, and what it gives back whatever the model does."""

import pytest
import torch
from attacked import Function, linear, network, points, samples
from torch import nn
from torch.nn import functional as F

from amun_plugin import Closest, Status, attack


def test_samples_on_which_the_model_errs_are_their_own_examples(method):
    x = points()
    y = torch.tensor([1, 2, 1, 2, 1])  # the model says 0

    found = attack(Function(linear), x, y, method)

    assert (found.status == Status.ALREADY_WRONG).all()
    assert found.x.equal(x)
    assert (found.distance == 0).all()
    assert found.label.equal(found.clean_label)
    assert (found.label == 0).all()
    assert (found.forwards == 1).all()
    assert (found.gradients == 0).all()
    assert found.ok.all()
    assert found.require_all() is found


UNATTACKABLE = {
    "a constant": (lambda x: torch.ones(len(x), 3), Status.NO_GRADIENT),
    "a constant of the input": (lambda x: linear(x) * 0, Status.NO_GRADIENT),
    "flat everywhere": (lambda x: F.relu(linear(x) - 99) - linear(x).sign(), Status.NO_GRADIENT),
    "a class that always wins": (
        lambda x: linear(x) + torch.tensor([99.0, 0, 0]),
        Status.NOT_FOUND,
    ),
    "infinite gradients": (
        lambda x: torch.cat((linear(x) * 0 + 1, (x[:, :1] - x[:, :1]).abs().sqrt()), 1),
        Status.NON_FINITE,
    ),
}


@pytest.mark.parametrize("name", UNATTACKABLE)
def test_what_cannot_be_attacked_ends_in_time_with_a_reason(method, name):
    function, reason = UNATTACKABLE[name]
    model = Function(function)
    x = points()
    y = model(x).argmax(1)
    model.counts.clear()

    found = attack(model, x, y, method)

    assert (found.status == reason).all()
    assert not found.ok.any()
    assert model.counts["gradients"] == found.gradients.sum()
    assert found.gradients.max() <= 12 * 50 + 1
    assert found.x.equal(x)
    assert found.label.equal(y)
    assert found.radius.isnan().all()
    assert len(found.pairs()[0]) == 0


def sometimes_nan(x):
    """Not a number for the sample that begins with 0.9, and wherever it may go."""
    return linear(x) / (x[:, 1:] > 0.01).float().where(x[:, 1:] > 0.01, torch.nan)


def test_one_broken_sample_leaves_the_others_alone(method):
    x = points()
    x[2, 1] = 0.0
    y = torch.zeros(5, dtype=torch.int64)
    others = torch.tensor([0, 1, 3, 4])
    alone = attack(Function(sometimes_nan), x[others], y[others], method)

    found = attack(Function(sometimes_nan), x, y, method)

    assert found.status[2] == Status.NON_FINITE
    assert found.gradients[2] == 0
    assert (found.status[others] == Status.FOUND).all()
    assert torch.allclose(found.x[others], alone.x, atol=1e-5)
    assert found.pairs()[0].equal(found.x[others])
    assert found.pairs()[1].equal(found.label[others])


def test_a_model_that_breaks_on_the_way_is_not_finite(method):
    def breaking(x):
        return torch.where(x[:, :1] < 0.45, torch.nan, linear(x))

    x = points()

    found = attack(Function(breaking), x, torch.zeros(5, dtype=torch.int64), method)

    assert not found.ok.any()
    assert (found.status == Status.NON_FINITE).all()


def test_no_samples_give_an_empty_result(method):
    found = attack(Function(linear), points(0), torch.zeros(0, dtype=torch.int64), method)

    assert found.x.shape == (0, 2)
    assert found.ok.shape == found.distance.shape == found.label.shape == (0,)
    assert found.require_all() is found


def test_a_pixel_outside_by_rounding_is_put_back():
    x = points()
    x[0, 0] = 1 + 9e-7
    x[1, 0] = -9e-7

    found = attack(Function(linear), x, torch.zeros(5, dtype=torch.int64), Closest())

    assert found.x.min() >= 0
    assert found.x.max() <= 1


def normalised_by_its_batch(x):
    return linear(F.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": linear}, TypeError, "model must be a torch.nn.Module; got function"),
        ({"images": [[0.5, 0.5]]}, TypeError, "images must be a tensor; got list"),
        ({"images": points().mul(255).byte()}, TypeError, r"images .* got torch.uint8"),
        ({"images": points()[0]}, ValueError, r"images must be \(n, \*shape\); got shape \(2,\)"),
        ({"images": points(5)[:, :0]}, ValueError, "images must have pixels"),
        ({"images": points() * torch.nan}, ValueError, r"images must be finite.* rows \[0, 1"),
        ({"images": points() + 1}, ValueError, r"bounds=\(0, 1\); got \[1.5.*normalisation inside"),
        ({"images": points() - 0.6}, ValueError, "images must lie in bounds"),
        ({"labels": [0] * 5}, TypeError, "labels must be a tensor; got list"),
        ({"labels": torch.zeros(5)}, TypeError, "labels must be int64; got torch.float32"),
        ({"labels": torch.zeros(4).long()}, ValueError, r"labels must be \(5,\).*got shape \(4,\)"),
        ({"labels": torch.full((5,), 3)}, ValueError, r"labels must be in \[0, 3\).*got 3"),
        ({"labels": torch.full((5,), -1)}, ValueError, "labels must not be negative; got -1"),
        ({"method": "pgd"}, TypeError, "method must be a Pgd or a Closest; got 'pgd'"),
        ({"engine": 256}, TypeError, "engine must be an Engine; got 256"),
        ({"bounds": (1.0, 0.0)}, ValueError, r"bounds must be finite, the first .* got \(1.0, 0"),
        ({"bounds": 1.0}, TypeError, "bounds must be two numbers, low and high; got 1.0"),
        ({"model": Function(lambda x: (x, x))}, TypeError, "model must return .*; got tuple"),
        (
            {"model": Function(lambda x: x.long())},
            TypeError,
            "model must return .*; got torch.int64",
        ),
        ({"model": Function(lambda x: x[:, 0])}, ValueError, r"logits \(5, .* got shape \(5,\)"),
        ({"model": Function(lambda x: x[:, :1])}, ValueError, r"classes >= 2\); got shape \(5, 1"),
        ({"model": Function(lambda x: x[:2])}, ValueError, r"logits \(5, .* got shape \(2, 2"),
        ({"model": Function(lambda x: linear(x.detach()))}, ValueError, "have a gradient path"),
        ({"model": Function(normalised_by_its_batch)}, ValueError, "judge each row by itself"),
        (
            {"model": Function(lambda x: linear(x) + torch.rand(len(x), 3))},
            ValueError,
            "and always the same way",
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else None,  # images are drawn at random
)
def test_bad_input_is_one_clear_error(change, error, words):
    labels = torch.tensor([0, 1, 0, 1, 2])
    arguments = {"model": Function(linear), "images": points(), "labels": labels, **change}
    settings = {key: arguments.pop(key) for key in ("bounds", "engine") if key in arguments}

    with pytest.raises(error, match=words):
        attack(*arguments.values(), **settings)


@pytest.mark.parametrize(
    "laid_out",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: x[:1].expand(6, -1, -1, -1),
        lambda x: x.repeat_interleave(2, 3)[..., ::2],
        lambda x: x.double(),
    ],
    ids=["channels_last", "transposed", "expanded", "strided", "double"],
)
def test_images_are_taken_in_any_layout(laid_out):
    model = network()
    x = laid_out(samples(model, 6)[0])
    y = model(x.float()).argmax(1)
    expected = attack(model, x.float().contiguous(), y, Closest())

    found = attack(model, x, y, Closest())

    assert found.x.dtype == torch.float32
    assert torch.allclose(found.x, expected.x, atol=1e-4)


def test_rows_of_numbers_and_two_classes_will_do(method):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2)).eval()
    x = torch.rand(10, 5)
    y = model(x).argmax(1)

    found = attack(model, x, y, method, bounds=(-3.0, 3.0))

    assert (found.status == Status.FOUND).all()
    assert (model(found.x).argmax(1) != y).all()
