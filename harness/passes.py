"""Counts the floating-point work of convolutions and matrix products, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode


class FlopCounter(TorchFunctionMode):
    """Adds up multiply-adds, as two operations each, of what is called while it is active.

    It watches calls of torch's Python functions and hangs a hook on their gradient nodes, so it
    also counts a plugin's own loop, and of a backward just those gradients that were computed. A
    torch dispatch mode would see every kernel, but makes a training step of a small model 40 %
    slower. Not counted: element-wise work, optimizers, recurrent layers, gradients of gradients,
    compiled graphs and replayed CUDA graphs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops: int = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the function and counts it if it is one of those that do the work."""
        count = COUNTED.get(func)
        if count is not None:
            out = func(*args, **(kwargs or {}))
            self._add(out, count(_physical(out), *args, *(kwargs or {}).values()))
            return out
        if func in MEASURED:
            with FlopCounterMode(display=False) as kernels:
                out = func(*args, **(kwargs or {}))
            self._add(out, kernels.get_total_flops())
            return out
        if func is F.multi_head_attention_forward:
            with self:
                return _TRANSPARENT_ATTENTION(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _add(self, out: Tensor, flops: int) -> None:
        self.flops += flops
        node = out.grad_fn
        while node is not None and (len(node.next_functions) == 1 or node.name() == "AddBackward0"):
            node = node.next_functions[0][0]  # a view, or a bias added: the product lies below
        if node is None:
            return
        first = 1 if node.name().startswith(("Add", "Badd")) else 0  # there the summand comes first

        def count_gradients(gradients: tuple[Tensor | None, ...], _: object) -> None:
            # attention has two products forward, and three gradients that take four of them
            factors = gradients[first : first + 2]
            self.flops += flops * sum(gradient is not None for gradient in factors)

        node.register_hook(count_gradients)


def _physical(tensor: Tensor) -> Tensor:
    """The tensor that holds the numbers: under ``torch.func.vmap`` with the hidden dimension."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def _convolution(out: Tensor, _: Tensor, weight: Tensor, *_rest: Any) -> int:
    return 2 * out.numel() * math.prod(weight.shape[1:])  # (out, in / groups, …)


def _product(out: Tensor, left: Tensor, *_rest: Any) -> int:
    return 2 * out.numel() * left.shape[-1]


def _summed_product(out: Tensor, _: Tensor, left: Tensor, *_rest: Any) -> int:
    return _product(out, left)


def _attention(out: Tensor, query: Tensor, key: Tensor, *_rest: Any) -> int:
    scores = math.prod(out.shape[:-1]) * key.shape[-2]  # batch × heads × queries × keys
    return 2 * scores * (query.shape[-1] + out.shape[-1])


COUNTED: Mapping[Callable[..., Any], Callable[..., int]] = {
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _convolution),
    **dict.fromkeys((F.linear, torch.matmul, torch.mm, torch.bmm, torch.mv), _product),
    **dict.fromkeys((Tensor.matmul, Tensor.__matmul__), _product),
    **dict.fromkeys((Tensor.mm, Tensor.bmm, Tensor.mv), _product),
    **dict.fromkeys((torch.addmm, torch.baddbmm, Tensor.addmm, Tensor.baddbmm), _summed_product),
    F.scaled_dot_product_attention: _attention,
}

MEASURED = frozenset(
    {
        torch.einsum,
        torch.tensordot,
        torch.conv_transpose1d,
        torch.conv_transpose2d,
        torch.conv_transpose3d,
    }
)
"""Rare ones, whose work is left to torch's own, slow counter to find out."""

_TRANSPARENT_ATTENTION = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda _: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)
"""``nn.MultiheadAttention``'s function without its own door for modes, so its products are seen."""


def forward_flops(model: nn.Module, image: Tensor) -> int:
    """The work of one forward of one image ``(1, c, h, w)``: the unit of passes."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    counter = FlopCounter()
    with counter, torch.no_grad():
        model(image)
    for module, mode in modes.items():
        module.training = mode
    return counter.flops
