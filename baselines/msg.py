"""MSG (masked small gradients): redraw the kernels' idle weights, then fine-tune, damping the rest.

Second of the NeurIPS 2023 unlearning challenge on Kaggle; described and re-run by Cadet et al.
2024, https://arxiv.org/abs/2410.01276, whose code gives the defaults. In each convolution the
``rate`` of weights with the smallest ``|∇CE(retain part) - ∇CE(forget)|``, the part as large as the
forget set, is redrawn (Kaiming, fan-out). Then CE(retain), where the gradient of the convolutions'
other weights is multiplied by ``damping``. Damped is not frozen: every weight moves, the damped
ones by a tenth of their gradient and by their full weight decay; biases, norms and the classifier
by their full gradient.

The gradients are means over either set, in eval mode; that code sums means of batches and leaves
the mode to its caller. Its linear warm-up and decay are one-cycle here, and the scenario's
augmentation stands where it has none. A network with one convolution or none (a ViT has its patch
embedding) also has its linear layers edited, except the last, its classifier. BatchNorm's
statistics follow the fine-tuning.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.parts.gradients import mean_gradients
from harness import (
    Method,
    Span,
    Task,
    UserError,
    fine_tune,
    hookimpl,
    require_no_negative,
)


@dataclass(frozen=True)
class MsgConfig:
    """Settings of the reset and the fine-tuning."""

    epochs: int = 5
    lr: float = 1e-3
    rate: float = 0.3
    """Share of each kernel's weights that is redrawn."""
    damping: float = 0.1
    """What is left of the other weights' gradient."""

    def __post_init__(self) -> None:
        require_no_negative(self)
        if self.rate > 1:
            raise ValueError(f"rate must be in [0, 1]; got {self.rate}")


def msg(task: Task, config: MsgConfig) -> nn.Module:
    """The original, partly redrawn, after ``CE(retain)`` with damped gradients."""
    kernels = edited_kernels(task.model)
    fresh = idle_weights(task, kernels, config.rate)
    redraw(kernels, fresh, task.generator)
    with damping(kernels, fresh, config.damping):
        return fine_tune(task, task.retain, epochs=config.epochs, lr=config.lr)


def edited_kernels(model: nn.Module) -> dict[str, Tensor]:
    """Layer → weight: of all convolutions; with at most one of these, of linear layers too.

    Raises UserError where there is none.
    """
    layers = list(model.named_modules())
    kernels: dict[str, Tensor] = {
        name: layer.weight for name, layer in layers if isinstance(layer, nn.Conv2d)
    }
    if len(kernels) <= 1:
        linear = [(name, layer.weight) for name, layer in layers if isinstance(layer, nn.Linear)]
        kernels.update(linear[:-1])
    if not kernels:
        raise UserError("msg needs a network with a convolution, or with two linear layers")
    return kernels


def idle_weights(task: Task, kernels: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """Layer → bool of its weight's shape: the ``rate`` of it with the smallest gradient."""
    drawn = torch.randperm(len(task.retain), generator=task.generator)[: len(task.forget)]
    weights = list(kernels.values())
    size = task.scenario.recipe.batch
    retain = mean_gradients(task.model, weights, task.retain.select(drawn), batch=size)
    forget = mean_gradients(task.model, weights, task.forget, batch=size)
    idle = {}
    for name, kept, lost in zip(kernels, retain, forget, strict=True):
        gradient = (kept - lost).abs().flatten()
        chosen = torch.zeros_like(gradient, dtype=torch.bool)
        chosen[gradient.topk(round(rate * len(gradient)), largest=False).indices] = True
        idle[name] = chosen.view(kept.shape)
    return idle


@torch.no_grad()
def redraw(
    kernels: Mapping[str, Tensor], fresh: Mapping[str, Tensor], generator: torch.Generator
) -> None:
    """Puts Kaiming-normal numbers (fan-out, ReLU) where ``fresh`` says so, in place."""
    for name, weight in kernels.items():
        values = torch.empty(weight.shape)
        nn.init.kaiming_normal_(values, mode="fan_out", nonlinearity="relu", generator=generator)
        weight.copy_(torch.where(fresh[name], values.to(weight.device), weight))


@contextmanager
def damping(
    kernels: Mapping[str, Tensor], fresh: Mapping[str, Tensor], factor: float
) -> Iterator[None]:
    """Within it the gradient of each weight that is not fresh is multiplied by the factor."""
    handles = [
        weight.register_hook(torch.where(fresh[name], 1.0, factor).mul)  # type: ignore[no-untyped-call]
        for name, weight in kernels.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@hookimpl
def unlearning_methods() -> list[Method]:
    """Idle weights redrawn, and fine-tuning with damped gradients."""
    return [
        Method(
            "msg",
            msg,
            MsgConfig(),
            paper="https://arxiv.org/abs/2410.01276",
            search={
                "epochs": Span(1, 4),
                "lr": Span(1e-4, 0.3, log=True),
                "rate": Span(0.05, 0.95),
            },
        )
    ]
