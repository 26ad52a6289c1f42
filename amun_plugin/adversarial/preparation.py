"""From the caller's model to the twin that a search asks, tried on one image before any other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from amun_plugin.adversarial.caller import Caller, module_tensors
from amun_plugin.adversarial.folding import Folded, Joint, find_joints, reaches
from amun_plugin.adversarial.settings import Engine
from amun_plugin.adversarial.twin import Twin, private_copy, stand_in

FOLDING = 1e-4
"""How far a folded copy's logits may lie from its own before, as a share of the largest."""
BY_ITSELF = "model must judge each row by itself, and always alike"
HINT = "Is a BatchNorm or a dropout of it still in train mode?"
LARGEST_BATCH = {"cpu": 256, "cuda": 1024}
CPU_MEMORY = 2**30
GPU_SHARE = 0.4
"""Of the free memory: what one call's graph may hold."""


class Prepared(NamedTuple):
    """A twin, and what was learned of it."""

    twin: Twin
    batch: int
    """Rows in one call."""
    reachable: bool
    """Whether gradients flow from the logits to the images."""
    forwards: int
    """Forwards of one row that it took."""


class _Trial(NamedTuple):
    """What one forward of one row shows."""

    logits: Tensor
    reachable: bool
    joints: list[Joint]
    row_bytes: int
    """What its graph holds."""


def prepare(caller: Caller, image: Tensor, logits: Tensor, engine: Engine) -> Prepared:
    """A twin, tried on one image ``(1, *s)``.

    ``logits`` ``(1, classes)`` is what the caller's model said of the image among others. Where
    that model cannot be copied, or its copy cannot be used, it is its own twin.

    Raises ValueError for a model whose answer depends on what else is in the batch.
    """
    device = caller.device if engine.device is None else torch.device(engine.device)
    twin = private_copy(caller, device, channels_last=image.ndim == 4)
    trial, forwards = None, 0
    if twin is not None:
        trial, forwards = _try_copy(twin, image), 1
    if twin is None or trial is None or not _agree(trial.logits, logits, caller.tolerance):
        twin = stand_in(caller)
        trial, forwards = _try_alone(caller, twin, image), forwards + 1
        if not _agree(trial.logits, logits, caller.tolerance):
            raise ValueError(f"{BY_ITSELF}; got other logits for a row in a batch. {HINT}")
    elif engine.fold and trial.joints:
        folded = twin.model = Folded(twin.model, trial.joints)
        if not _agree(twin.logits(twin.place(image)), trial.logits, FOLDING):
            folded.unfold()
        forwards += 1
    twin.bf16 = engine.precision == "bf16"
    return Prepared(twin, _batch(engine, twin.device, trial.row_bytes), trial.reachable, forwards)


def _try_copy(twin: Twin, image: Tensor) -> _Trial | None:
    try:
        return _try(twin, image)
    except Exception:  # a copy in float32 may lack what the model needs; the model itself may not
        return None


def _try_alone(caller: Caller, twin: Twin, image: Tensor) -> _Trial:
    try:
        return _try(twin, image)
    except Exception as error:
        caller.logits(torch.cat((image, image)))  # if this fails as well, it is the model's fault
        raise ValueError(f"{BY_ITSELF}; got {error!r} for a row alone. {HINT}") from error


def _try(twin: Twin, image: Tensor) -> _Trial:
    x = twin.place(image).detach().requires_grad_()
    ours = {t.untyped_storage().data_ptr() for t in (*module_tensors(twin.model), x)}
    held = {}

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # itself, it would hold the graph that holds it

    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        joints, logits = find_joints(twin.model, lambda: twin(x))
    return _Trial(logits.detach(), reaches(logits, x), joints, max(1, sum(held.values())))


def _agree(left: Tensor, right: Tensor, tolerance: float) -> bool:
    apart = (left - right.to(left.device)).abs().max()
    return bool(apart <= tolerance * right.abs().max().to(left.device))


def _batch(engine: Engine, device: torch.device, row_bytes: int) -> int:
    if engine.batch != "auto":
        return engine.batch
    memory = CPU_MEMORY
    if device.type == "cuda":
        memory = int(torch.cuda.mem_get_info(device)[0] * GPU_SHARE)
    rows = max(1, memory // row_bytes)
    return min(LARGEST_BATCH.get(device.type, 256), 1 << (rows.bit_length() - 1))
