"""Counts the floating-point work of convolutions and matrix products, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

CONVOLUTIONS: frozenset[Callable[..., Any]] = frozenset(
    {torch.conv1d, torch.conv2d, torch.conv3d}
)  # their weight is (out, in / groups, …)
PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__}
)
SUMMED_PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {torch.addmm, torch.baddbmm, Tensor.addmm, Tensor.baddbmm}
)


class FlopCounter(TorchFunctionMode):
    """Adds up multiply-adds, as two operations each, while it is active.

    It watches calls of torch's Python functions and hangs a hook on their gradient nodes, so it
    also counts a plugin's own loop, and of a backward just those gradients that were computed. A
    torch dispatch mode would see every kernel, but makes a training step of a small model 40 %
    slower. Element-wise work, optimizers, compiled graphs and replayed CUDA graphs are not counted.
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
        out = func(*args, **(kwargs or {}))
        count = COUNTED.get(func)
        if count is not None and isinstance(out, Tensor):
            self._add(out, count(_physical(out), *args, **(kwargs or {})))
        return out

    def _add(self, out: Tensor, flops: int) -> None:
        self.flops += flops
        node = out.grad_fn
        if node is None:
            return
        while len(node.next_functions) == 1 and node.next_functions[0][0] is not None:
            node = node.next_functions[0][0]  # a view of the product: the product lies below it

        def count_gradients(gradients: tuple[Tensor | None, ...], _: object) -> None:
            matrices = sum(g is not None and g.ndim > 1 for g in gradients)  # a bias costs nothing
            # attention has two products forward, and three gradients that take four of them
            self.flops += flops * min(matrices, 2)

        node.register_hook(count_gradients)


def _physical(tensor: Tensor) -> Tensor:
    """The tensor that holds the numbers: under ``torch.func.vmap`` with the hidden dimension."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def _convolution(out: Tensor, _: Tensor, weight: Tensor, *_args: Any, **_kwargs: Any) -> int:
    return 2 * out.numel() * (weight.numel() // weight.shape[0])


def _linear(out: Tensor, _: Tensor, weight: Tensor, *_args: Any, **_kwargs: Any) -> int:
    return 2 * out.numel() * weight.shape[-1]


def _product(out: Tensor, left: Tensor, *_args: Any, **_kwargs: Any) -> int:
    return 2 * out.numel() * left.shape[-1]


def _summed_product(out: Tensor, _: Tensor, left: Tensor, *_args: Any, **_kwargs: Any) -> int:
    return 2 * out.numel() * left.shape[-1]


def _attention(out: Tensor, query: Tensor, key: Tensor, *_args: Any, **_kwargs: Any) -> int:
    scores = out.numel() // out.shape[-1] * key.shape[-2]  # batch × heads × queries × keys
    return 2 * scores * (query.shape[-1] + out.shape[-1])


COUNTED: Mapping[Callable[..., Any], Callable[..., int]] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(PRODUCTS, _product),
    **dict.fromkeys(SUMMED_PRODUCTS, _summed_product),
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
}


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
