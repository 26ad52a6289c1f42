"""Watches whether the tensors that a call reads come from its task, from itself, or elsewhere."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

TORCH = str(Path(torch.__file__).parent)
HERE = str(Path(__file__).parents[1])

COPY = torch.ops.aten.copy_
SET = torch.ops.aten.set_
CONVOLUTION = torch.ops.aten.convolution
BACKWARD = torch.ops.aten.convolution_backward


class Provenance(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records in ``foreign`` the first unknown tensor that an operation reads.

    Known are the tensors passed to ``grant`` and those that operations return. A tensor whose
    storage has fewer than ``allowed`` elements may be a constant, and passes. The watch sees
    kernels, below autograd and ``torch.func``; it cannot see NumPy write into a tensor.
    """

    def __init__(self, allowed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.allowed = allowed
        self.flops: int = 0
        """The work of all kernels except gradients of convolutions, counted independently."""
        self.foreign = ""
        """Shape, type and place of the first unknown tensor; empty if there was none."""
        self._known: dict[int, StorageWeakRef] = {}

    def grant(self, tensors: Iterable[Tensor]) -> None:
        """Makes these tensors known."""
        for tensor in tensors:
            for part in _parts(tensor):
                storage = part.untyped_storage()
                # an address is valid only while its storage lives; it may be reused afterwards
                weak = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._known[storage.data_ptr()] = weak

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Checks what the kernel reads, runs it, and makes known what it returns."""
        named = dict(kwargs or {})
        packet = getattr(func, "_overloadpacket", None)
        if packet is SET:  # shares a storage, which is checked when the tensor is read
            return func(*args, **named)
        read = args[1:] if packet is COPY else (args, *named.values())
        for tensor in _tensors(read):
            if not self.foreign and not self._is_known(tensor):
                self.foreign = f"{tuple(tensor.shape)} {tensor.dtype}{_place()}"
        out = func(*args, **named)
        if packet in flop_registry and not _miscounted(packet, args):
            self.flops += flop_registry[packet](*args, **named, out_val=out)
        if packet is not COPY or _covers(out):
            self.grant(_tensors(out))
        return out

    def _is_known(self, tensor: Tensor) -> bool:
        for part in _parts(tensor):
            storage = part.untyped_storage()
            if storage.nbytes() < self.allowed * part.element_size():
                continue
            known = self._known.get(storage.data_ptr())
            if known is None or known.expired():  # type: ignore[no-untyped-call]
                return False
        return True


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers and all other tensors in the attributes of its modules."""
    for part in model.modules():
        yield from _tensors(vars(part))


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """The tensors whose storages make up this one; none for an exotic layout."""
    if tensor.layout is torch.sparse_coo:
        return (tensor._values(),)
    return (tensor,) if tensor.layout is torch.strided else ()


def _miscounted(packet: Any, args: tuple[Any, ...]) -> bool:
    """Whether torch counts many times too much, as for gradients and grouped convolutions.

    ``vmap`` turns a convolution with a separate weight for each sample into a grouped one.
    """
    return packet is BACKWARD or (packet is CONVOLUTION and (args[6] or args[8] > 1))


def _covers(written: Tensor) -> bool:
    """Whether the write replaced the whole storage."""
    return written.nbytes >= written.untyped_storage().nbytes()


def _place() -> str:
    """The nearest line of code outside torch and the harness."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith((TORCH, HERE)):
            return f", at {Path(frame.filename).name}:{frame.lineno}"
    return ""
