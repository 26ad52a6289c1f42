"""From the caller's model to the twin that an attack asks, tried out on one image first."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from amun_plugin.adversarial.folding import Folded, Joint, find_joints, reaches
from amun_plugin.adversarial.settings import Engine
from amun_plugin.adversarial.twin import Caller, Twin, module_tensors, private_copy, stand_in

FOLDING = 1e-4
"""How far folding may change the copy's logits, as a share of the largest."""
BY_ITSELF = "model must judge each row by itself, and always the same way"
HINT = "Is one of its BatchNorms or dropouts still in train mode?"
LARGEST_BATCH = {"cpu": 256, "cuda": 1024}
CPU_MEMORY = 2**30
"""Bytes that the graph of one call may hold on a CPU, ..."""
GPU_SHARE = 0.4
"""... and on a GPU, as a share of the free memory."""


class Prepared(NamedTuple):
    """A twin, and what was learned about it."""

    twin: Twin
    batch: int
    """Rows in one call."""
    reachable: bool
    """Whether gradients flow from the logits to the images."""
    forwards: int
    """Forwards of one row that the preparation spent."""


class _Trial(NamedTuple):
    """What one forward of one row shows."""

    logits: Tensor
    reachable: bool
    joints: list[Joint]
    row_bytes: int
    """Memory that its graph holds."""


def prepare(caller: Caller, image: Tensor, logits: Tensor, engine: Engine) -> Prepared:
    """Gives a twin, tried out on one image ``(1, *s)``.

    ``logits`` ``(1, classes)`` are the answers of the caller's model for the image in a batch.
    Where that model cannot be copied, or its copy cannot be used, it serves as its own twin.

    Raises ValueError for a model whose answer depends on the rest of the batch.
    """
    device = caller.device if engine.device is None else torch.device(engine.device)
    forwards = 0
    trial = None
    twin = private_copy(caller, device, channels_last=image.ndim == 4)
    if twin is not None:
        forwards += 1
        trial = _try_copy(twin, image)
    if twin is not None and trial is not None and _agree(trial.logits, logits, caller.tolerance):
        if engine.fold and trial.joints:
            forwards += 1
            _fold(twin, image, trial)
    else:
        forwards += 1
        twin = stand_in(caller)
        trial = _try_alone(caller, twin, image)
        if not _agree(trial.logits, logits, caller.tolerance):
            raise ValueError(
                f"{BY_ITSELF}; got other logits for a row alone than in a batch. {HINT}"
            )
    twin.bf16 = engine.precision == "bf16"
    return Prepared(twin, _batch(engine, twin.device, trial.row_bytes), trial.reachable, forwards)


def _try_copy(twin: Twin, image: Tensor) -> _Trial | None:
    try:
        return _try(twin, image)
    except Exception:  # a copy in float32 may fail where the model itself works
        return None


def _try_alone(caller: Caller, twin: Twin, image: Tensor) -> _Trial:
    try:
        return _try(twin, image)
    except Exception as error:
        caller.logits(torch.cat((image, image)))  # its own error, if it fails in a batch as well
        raise ValueError(f"{BY_ITSELF}; got {error!r} for a row alone. {HINT}") from error


def _try(twin: Twin, image: Tensor) -> _Trial:
    x = twin.place(image).detach().requires_grad_()
    ours = {t.untyped_storage().data_ptr() for t in (*module_tensors(twin.model), x)}
    held = {}

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it

    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        joints, logits = find_joints(twin.model, lambda: twin(x))
    return _Trial(logits.detach(), reaches(logits, x), joints, max(1, sum(held.values())))


def _fold(twin: Twin, image: Tensor, trial: _Trial) -> None:
    """Folds the twin's norms, unless that changes its logits."""
    folded = Folded(twin.model, trial.joints)
    twin.model = folded
    if not _agree(twin.logits(twin.place(image)), trial.logits, FOLDING):
        folded.unfold()


def _agree(left: Tensor, right: Tensor, tolerance: float) -> bool:
    difference = (left - right.to(left.device)).abs().max()
    return bool(difference <= tolerance * right.abs().max().to(left.device))


def _batch(engine: Engine, device: torch.device, row_bytes: int) -> int:
    """Rows in one call: what the engine asks for, or the largest power of two that fits."""
    if engine.batch != "auto":
        return engine.batch
    memory = CPU_MEMORY
    if device.type == "cuda":
        memory = int(torch.cuda.mem_get_info(device)[0] * GPU_SHARE)
    rows = max(1, memory // row_bytes)
    return min(LARGEST_BATCH.get(device.type, 256), 1 << (rows.bit_length() - 1))
