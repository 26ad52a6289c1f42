"""NegGrad+ descends one loss and climbs the other in the same step."""

import pytest
from torch.nn import functional as F
from update_rules import assert_same_weights, first_rate, one_step, pixels

from baselines.neggrad_plus import NegGradPlusConfig, neggrad_plus


@pytest.fixture
def task(plain_task):
    return plain_task


def test_neggrad_plus_descends_the_retain_loss_and_climbs_the_forget_loss(task):
    def loss(model):
        kept = F.cross_entropy(model(pixels(task.retain)), task.retain.labels)
        return 0.7 * kept - 0.3 * F.cross_entropy(model(pixels(task.forget)), task.forget.labels)

    expected = one_step(task.model, loss, first_rate(0.5))

    assert_same_weights(neggrad_plus(task, NegGradPlusConfig(1, 0.5, 0.7)), expected)
