"""An L1 penalty on the weights that fades over the training."""

from collections.abc import Callable

from torch import Tensor, nn

from harness import Batch, cross_entropy


def penalised(gamma: float) -> Callable[[nn.Module, Batch], Tensor]:
    """The cross-entropy plus an L1 penalty on all parameters that falls linearly to zero."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        penalty = sum(weight.abs().sum() for weight in model.parameters())
        return cross_entropy(model, batch) + gamma * (1 - batch.progress) * penalty

    return loss
