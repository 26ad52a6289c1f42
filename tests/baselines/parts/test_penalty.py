"""The fading L1 penalty."""

import pytest
from update_rules import pixels

from baselines.parts.penalty import penalised
from harness import Batch, cross_entropy


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)])
def test_the_penalty_falls_linearly_from_gamma_to_zero(task, progress, share):
    data, model = task.forget, task.model.eval()
    batch = Batch(pixels(data), data.labels, data.index, 0, progress)
    norm = sum(weight.detach().abs().sum().item() for weight in model.parameters())

    value = penalised(0.01)(model, batch).item()

    plain = cross_entropy(model, batch).item()
    assert value - plain == pytest.approx(0.01 * share * norm, rel=1e-4, abs=1e-6)
