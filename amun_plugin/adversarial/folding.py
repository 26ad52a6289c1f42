"""Folds each BatchNorm of a private model in eval mode into the convolution before it.

One run of the model shows what can be folded: a norm that is given the very tensor that a
convolution returned, where the autograd graph shows no other use of that tensor. The model's own
code still runs, so control flow, hooks and counters work as before. A folded norm refuses any other
input, and then the model is unfolded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from amun_plugin.adversarial.twin import HOOKS

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class UnfoldableError(RuntimeError):
    """A folded norm was skipped, or was given something other than its convolution's output."""


@dataclass(eq=False)
class Joint:
    """A convolution and the norm after it."""

    convolution: Convolution
    norm: Norm
    pending: Tensor | None = field(default=None, init=False)
    """The convolution's output, until the norm receives it."""

    def rest(self, x: Tensor) -> Tensor:
        """What the norm does after its arithmetic: nothing, or timm's dropout and activation."""
        if type(self.norm) in NORMS:
            return x
        output: Tensor = self.norm.act(self.norm.drop(x))  # type: ignore[operator]
        return output

    def fold(self) -> Callable[[], None]:
        """Moves the norm's arithmetic into the convolution; gives a function that undoes it."""
        layer = self.convolution
        norm = self.norm
        weight = layer.weight
        bias = layer.bias
        assert norm.running_mean is not None
        assert norm.running_var is not None
        layer.weight, layer.bias = fuse_conv_bn_weights(
            weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        layer.requires_grad_(requires_grad=False)
        note = layer.register_forward_hook(self._note)
        norm.__dict__["forward"] = self._pass_on

        def unfold() -> None:
            kind = layer.weight.dtype
            layer.weight = nn.Parameter(weight.to(kind), requires_grad=False)
            layer.bias = None if bias is None else nn.Parameter(bias.to(kind), requires_grad=False)
            note.remove()
            del norm.__dict__["forward"]

        return unfold

    def _note(self, _layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if self.pending is not None:
            raise UnfoldableError
        self.pending = output

    def _pass_on(self, x: Tensor) -> Tensor:
        if x is not self.pending:
            raise UnfoldableError
        self.pending = None
        return self.rest(x)


class Folded(nn.Module):
    """A private model with its joints folded, until one of them turns out not to hold."""

    def __init__(self, model: nn.Module, joints: list[Joint]) -> None:
        super().__init__()
        self.model = model
        self.joints = joints
        self._undo = [joint.fold() for joint in joints]

    def forward(self, x: Tensor) -> Any:
        """The model's answer; unfolds the model first if a joint does not hold for this input."""
        try:
            output = self.model(x)
        except UnfoldableError:
            self.unfold()
            return self.model(x)
        if any(joint.pending is not None for joint in self.joints):
            self.unfold()
            return self.model(x)
        return output

    def unfold(self) -> None:
        """Restores the model."""
        for undo in self._undo:
            undo()
        self._undo = []
        self.joints = []


def find_joints(model: nn.Module, run: Callable[[], Tensor]) -> tuple[list[Joint], Tensor]:
    """The pairs that can be folded, as ``run`` shows them, and the logits that it returns.

    ``run`` calls the model once, in eval mode, on an input that requires a gradient.
    """
    seen = _Sightings([], [])
    handles = list(seen.watch(model))
    try:
        logits = run()
    finally:
        for handle in handles:
            handle.remove()
    return seen.joints(_users(logits)), logits


@dataclass(frozen=True, eq=False)
class _Sighting:
    module: Any
    tensor: Tensor | None
    node: Any
    """The tensor's gradient node at that moment; an operation in place would change it."""


@dataclass(frozen=True, eq=False)
class _Sightings:
    given: list[_Sighting]
    """Outputs of convolutions."""
    taken: list[_Sighting]
    """Inputs of norms."""

    def watch(self, model: nn.Module) -> Iterator[Any]:
        for module in model.modules():
            if any(getattr(module, hooks) for hooks in HOOKS):
                continue
            if type(module) in CONVOLUTIONS:
                yield module.register_forward_hook(self._give)
            elif _is_foldable_norm(module):
                yield module.register_forward_pre_hook(self._take)

    def _give(self, module: nn.Module, _inputs: object, output: Tensor) -> None:
        self.given.append(_Sighting(module, output, output.grad_fn))

    def _take(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        tensor = inputs[0] if inputs else None
        self.taken.append(_Sighting(module, tensor, getattr(tensor, "grad_fn", None)))

    def joints(self, users: Counter[Any]) -> list[Joint]:
        """The pairs in which each module is called once and only the norm uses the output."""
        calls = Counter(seen.module for seen in (*self.given, *self.taken))
        takers = {seen.node: seen for seen in self.taken if seen.node is not None}
        return [
            Joint(given.module, taker.module)
            for given in self.given
            if (taker := takers.get(given.node)) is not None
            and taker.tensor is given.tensor
            and users[given.node] == 1
            and calls[given.module] == calls[taker.module] == 1
        ]


def _is_foldable_norm(module: nn.Module) -> bool:
    if not isinstance(module, NORMS) or module.running_mean is None or module.training:
        return False
    with_activation = hasattr(module, "act") and hasattr(module, "drop")
    return type(module) in NORMS or with_activation


def _users(output: Tensor) -> Counter[Any]:
    """For each node of the graph of ``output``: how many others use its result."""
    users: Counter[Any] = Counter()
    todo = [output.grad_fn] if output.grad_fn is not None else []
    seen: set[Any] = {*todo}
    while todo:
        for node, _ in todo.pop().next_functions:
            if node is None:
                continue
            users[node] += 1
            if node not in seen:
                seen.add(node)
                todo.append(node)
    return users


def reaches(output: Tensor, x: Tensor) -> bool:
    """Whether the gradient of ``output`` flows to ``x``, a leaf of its graph."""
    return any(getattr(node, "variable", None) is x for node in _users(output))
