"""Counts the floating-point work of convolutions and matrix products, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode


class OverBudgetError(Exception):
    """More floating-point work than the budget allows."""


class FlopCounter(TorchFunctionMode):
    """Counts the work done while it is active, a multiply-add as two operations.

    It watches calls of torch's Python functions and puts a hook on their gradient nodes. So it
    also counts a plugin's own loop, and of a backward only the gradients that were computed.

    Why not torch's FlopCounterMode, which counts the same to the last digit: it sees every kernel
    through a dispatch mode, and that is slow. A training step of timm's ``test_resnet`` on 64
    images takes 1.13 times the CPU time of an uncounted one here, and 2.59 times there (medians of
    12 interleaved epochs; one thread of an AMD EPYC, torch 2.14.1).

    Not counted: element-wise work, optimizers, recurrent layers, gradients of gradients and in
    forward mode, compiled graphs and replayed CUDA graphs. A graph's gradients for a batch of
    directions are counted once. Work beyond ``most`` operations raises OverBudgetError.
    """

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self.flops: int = 0
        self._most = most

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function, and counts its work if it does any."""
        named = kwargs or {}
        rule = COUNTED.get(func)
        operands = rule and _operands(rule.names, args, named)
        if rule and operands:
            out = func(*args, **named)
            self._add(out, rule.count(_levels(out)[-1], *operands))
            return out
        if rule or func in MEASURED:
            with FlopCounterMode(display=False) as kernels:
                out = func(*args, **named)
            self._add(out, kernels.get_total_flops())
            return out
        if func in OPENED:
            with self:  # torch turns a mode off while it handles a call
                return OPENED[func](*args, **named)
        return func(*args, **named)

    def _spend(self, flops: int) -> None:
        self.flops += flops
        if self.flops > self._most:
            raise OverBudgetError

    def _add(self, out: Tensor, flops: int) -> None:
        self._spend(flops)
        for level in _levels(out):
            node = _product_node(level.grad_fn)
            if node is not None:
                self._count_gradients(node, flops)

    def _count_gradients(self, node: Node, flops: int) -> None:
        first = 1 if node.name().startswith(("Add", "Badd")) else 0  # there the summand comes first

        def count(gradients: tuple[Tensor | None, ...], _: object) -> None:
            # attention has two products forward, and three gradients that take four of them
            factors = gradients[first : first + 2]
            self._spend(flops * sum(gradient is not None for gradient in factors))

        node.register_hook(count)


def _product_node(node: Node | None) -> Node | None:
    """The nearest node of several operands, below views and an added bias; None without one."""
    if node is None or (len(node.next_functions) > 1 and node.name() != "AddBackward0"):
        return node
    below = (_product_node(parent) for parent, _ in node.next_functions)
    return next((found for found in below if found is not None), None)


def _levels(tensor: Tensor) -> list[Tensor]:
    """The tensor and what it wraps under ``torch.func``, one per transform; the last is real."""
    functorch = torch._C._functorch
    levels = [tensor]
    while functorch.is_functorch_wrapped_tensor(levels[-1]):
        levels.append(functorch.get_unwrapped(levels[-1]))
    return levels


def _operands(
    names: tuple[str, ...], args: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[Tensor, ...]:
    """The operands that a rule asks for; empty where one is missing or is no tensor."""
    found = args[: len(names)]
    if len(found) < len(names):
        found += tuple(named.get(name) for name in names[len(found) :])
    for operand in found:
        if not isinstance(operand, Tensor):
            return ()
    return found


class Rule(NamedTuple):
    """How the work of one function is computed from its result and its operands."""

    count: Callable[..., int]
    names: tuple[str, ...]
    """The operands that ``count`` needs: the function's first ones, or those of these names."""


def _convolution(out: Tensor, _: Tensor, weight: Tensor) -> int:
    return 2 * out.numel() * math.prod(weight.shape[1:])  # (out, in / groups, …)


def _product(out: Tensor, left: Tensor) -> int:
    return 2 * out.numel() * left.shape[-1]


def _summed_product(out: Tensor, _: Tensor, left: Tensor) -> int:
    return _product(out, left)


def _attention(out: Tensor, query: Tensor, key: Tensor) -> int:
    scores = math.prod(out.shape[:-1]) * key.shape[-2]  # batch × heads × queries × keys
    return 2 * scores * (query.shape[-1] + out.shape[-1])


COUNTED: Mapping[Callable[..., Any], Rule] = {
    **dict.fromkeys(
        (torch.conv1d, torch.conv2d, torch.conv3d), Rule(_convolution, ("input", "weight"))
    ),
    **dict.fromkeys(
        (F.linear, torch.matmul, torch.linalg.matmul, torch.mm, torch.bmm, torch.mv),
        Rule(_product, ("input",)),
    ),
    **dict.fromkeys(
        (Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm, Tensor.mv),
        Rule(_product, ("self",)),
    ),
    **dict.fromkeys(
        (torch.addmm, Tensor.addmm, Tensor.addmm_), Rule(_summed_product, ("input", "mat1"))
    ),
    **dict.fromkeys(
        (torch.baddbmm, Tensor.baddbmm, Tensor.baddbmm_), Rule(_summed_product, ("input", "batch1"))
    ),
    F.scaled_dot_product_attention: Rule(_attention, ("query", "key")),
}

MEASURED = frozenset(
    {
        torch.einsum,
        torch.tensordot,
        torch.inner,
        torch.chain_matmul,
        torch.linalg.multi_dot,
        torch.convolution,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
        Tensor.__rmatmul__,
    }
)
"""Rare ones, counted by torch's own, slower counter."""


def _opened(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of the function that does not announce itself, so that its inner calls are seen.

    A torch function written in Python first asks ``has_torch_function`` whether anyone watches; if
    so it hands itself over whole, and what it calls inside stays unseen. To call it again with the
    mode on would only hand it over again, without end. There is no public switch, hence a copy of
    its code, in whose globals the question is always answered no.
    """
    assert isinstance(function, FunctionType)
    unwatched = dict.fromkeys(("has_torch_function", "has_torch_function_unary"), lambda _: False)
    opened = FunctionType(function.__code__, {**function.__globals__, **unwatched})
    opened.__defaults__ = function.__defaults__
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


OPENED: Mapping[Callable[..., Any], Callable[..., Any]] = {
    function: _opened(function)
    for function in (
        F.multi_head_attention_forward,
        # a backward runs a checkpoint's second forward, and the backward that a plugin wrote
        Tensor.backward,
        torch.autograd.backward,
        torch.autograd.grad,
    )
}


def forward_flops(model: nn.Module, image: Tensor) -> int:
    """The work of one forward of one image ``(1, c, h, w)``: the unit of passes."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    counter = FlopCounter()
    try:
        with counter, torch.no_grad():
            model(image)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return counter.flops
