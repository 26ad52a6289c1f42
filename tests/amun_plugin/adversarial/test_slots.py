"""Slots are refilled until every row is done, and no row's result depends on its neighbours."""

from dataclasses import dataclass

import pytest
import torch
from attacked import BRIEF, network, samples

from amun_plugin import Engine, Status, attack
from amun_plugin.adversarial.slots import RUNNING, Slots, run


@pytest.fixture(params=BRIEF, ids=str)
def method(request):
    return request.param


@dataclass(eq=False)
class Countdown(Slots):
    left: torch.Tensor


class Patience:
    """An attack that is done with row i after ``times[i]`` gradients; notes how many it runs."""

    def __init__(self, times):
        self.times = torch.tensor(times)
        self.running = []

    def fresh(self, rows):
        n = len(rows)
        status = torch.full((n,), RUNNING, dtype=torch.uint8)
        return Countdown(rows.clone(), status, torch.zeros(n, dtype=torch.int32), self.times[rows])

    def advance(self, slots):
        self.running.append(len(slots))
        slots.left -= 1
        slots.gradients += 1
        slots.status[slots.left == 0] = Status.FOUND


@pytest.mark.parametrize("size", [1, 3, 16, 100])
def test_every_row_comes_out_once_after_its_own_gradients(size):
    patience = Patience([1, 9, 2, 2, 30, 1, 5, 5, 5, 17] * 4)

    done = list(run(patience, torch.arange(40), size))

    rows = torch.cat([slots.row for slots in done])
    spent = torch.cat([slots.gradients for slots in done])
    assert rows.sort().values.tolist() == list(range(40))
    assert spent.tolist() == patience.times[rows].tolist()
    assert max(patience.running) == min(size, 40)
    assert sum(patience.running) == patience.times.sum()  # no slot is ever idle on a CPU


def test_slots_stay_full_as_long_as_rows_wait():
    patience = Patience([3, 1, 2] * 20)

    list(run(patience, torch.arange(60), 4))

    # 120 gradients in 4 slots; at the end fewer rows are left than slots
    assert patience.running[:27] == [4] * 27
    assert patience.running == sorted(patience.running, reverse=True)


def test_splitting_permuting_and_repeating_samples_changes_no_radius_or_label(method):
    model = network()
    x, y = samples(model, 8)
    whole = attack(model, x, y, method)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))

    for batch in (1, 5):
        found = attack(model, x[order], y[order], method, engine=Engine(batch=batch))

        assert found.radius.nan_to_num(-1).equal(whole.radius[order].nan_to_num(-1))
        assert found.label.equal(whole.label[order])
        assert torch.allclose(found.x, whole.x[order], atol=1e-3)
    twice = attack(model, x[:3].repeat(2, 1, 1, 1), y[:3].repeat(2), method)
    assert torch.allclose(twice.x[:3], twice.x[3:], atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model_on", ["cpu", "cuda"])
def test_a_gpu_finds_what_a_cpu_finds(method, model_on):
    model = network()
    x, y = samples(model, 300)
    expected = attack(model, x, y, method)

    engine = Engine(batch=64, device="cuda")
    found = attack(model.to(model_on), x.to(model_on), y.to(model_on), method, engine=engine)

    assert found.ok.all()
    assert found.x.device.type == model_on
    assert (found.label.cpu() == expected.label).float().mean() >= 0.95
    assert (found.distance.cpu() / expected.distance).median().item() == pytest.approx(1, abs=0.01)
