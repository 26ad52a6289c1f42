"""The caller's model has the last word on every example, and every forward is counted."""

from collections import Counter

import pytest
import torch
from attacked import BRIEF, Function, HalfSpace, linear, network, points, samples

from amun_plugin import Closest, Engine, Pgd, Status, attack
from amun_plugin.adversarial.ledger import EXTENSIONS, verify
from amun_plugin.adversarial.result import Samples
from amun_plugin.adversarial.twin import Caller


@pytest.fixture(params=BRIEF, ids=str)
def method(request):
    return request.param


def counted(model):
    """Counts what hooks see of every forward and backward, the private copy's included."""
    counts = Counter()

    def see(_module, _inputs, output):
        counts["forwards"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda gradient: counts.update(gradients=len(gradient)))

    model.register_forward_hook(see)
    return counts


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("batch", ["auto", 7])
def test_what_it_says_it_spent_is_what_hooks_count(method, batch, fold):
    model = network()
    x, y = samples(model, 25)
    y[::5] = (y[::5] + 1) % 4
    counts = counted(model)

    found = attack(model, x, y, method, engine=Engine(batch=batch, fold=fold))

    assert counts["gradients"] == found.gradients.sum()
    assert counts["forwards"] == found.forwards.sum()
    assert (found.forwards[::5] == 1).all()
    assert (found.gradients[::5] == 0).all()


def test_a_verdict_of_the_model_against_its_copy_costs_forwards_that_count():
    model = network()
    x, y = samples(model, 60)
    counts = counted(model)

    found = attack(model, x, y, Closest(overshoot=0.0), engine=Engine(precision="bf16"))

    assert found.ok.all()
    assert counts["gradients"] == found.gradients.sum()
    assert (found.gradients > 10).any()  # in bfloat16 the nearest are wrong already
    assert counts["forwards"] == found.forwards.sum()


def test_every_row_found_is_wrong_alone_and_among_all(method):
    model = network()
    x, y = samples(model, 40)

    found = attack(model, x, y, method)

    alone = torch.cat([model(row[None]).argmax(1) for row in found.x])
    assert (found.status == Status.FOUND).all()
    assert model(found.x).argmax(1).equal(found.label)
    assert alone.equal(found.label)
    assert (found.label != y).all()
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    assert torch.allclose(found.distance, (found.x - x).flatten(1).norm(dim=1), atol=1e-5)
    assert not (found.distance > found.radius + 1e-5).any()  # the radius of Closest is nan


def test_the_same_call_gives_the_same_bits(method):
    model = network()
    x, y = samples(model, 10)

    one = attack(model, x, y, method)
    two = attack(model, x, y, method)

    assert one.x.equal(two.x)
    assert one.label.equal(two.label)


def test_a_refuted_example_is_moved_on_along_its_ray_to_just_beyond_the_boundary():
    model = HalfSpace(torch.tensor([1.0, 0.0]), 0.55)
    clean = torch.full((3, 2), 0.5)
    x = clean + torch.tensor([[0.06, 0.0], [0.049, 0.0], [0.02, 0.0]])  # the boundary is at 0.05

    verdict = verify(Caller(model, x, 8), Samples(clean, torch.zeros(3).long(), (0.0, 1.0)), x)

    away = verdict.x - clean
    assert verdict.ok.tolist() == [True, True, False]  # the last would have to go 2.5 times as far
    assert verdict.x[[0, 2]].equal(x[[0, 2]])
    assert 0.05 < away[1, 0] < 0.05 + 0.049 * (EXTENSIONS[4] - EXTENSIONS[3]) / 2**4
    assert verdict.label.tolist() == [1, 1, 0]
    assert verdict.forwards[0] == 1


def test_the_bf16_attack_gives_examples_of_the_model_itself(digits):
    model, x, y = digits

    for method in (Pgd(), Pgd(restart="origin"), Closest(overshoot=0.0)):
        plain = attack(model, x[:60], y[:60], method)
        found = attack(model, x[:60], y[:60], method, engine=Engine(precision="bf16"))

        assert found.ok.all()
        assert (model(found.x).argmax(1) == found.label).all()
        assert (found.label != y[:60]).all()
        assert found.distance.median().item() == pytest.approx(
            plain.distance.median().item(), rel=0.03
        )


def test_outputs_that_look_like_probabilities_are_warned_of():
    with pytest.warns(UserWarning, match="look like probabilities") as caught:
        attack(Function(lambda x: linear(x).softmax(1)), points(), torch.zeros(5).long(), Closest())

    assert len(caught) == 1
    assert caught[0].filename == __file__
