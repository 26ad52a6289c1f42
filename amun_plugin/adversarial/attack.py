"""One call: for each image, a nearby one on which the model errs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from amun_plugin.adversarial.closest import attack_closest
from amun_plugin.adversarial.ledger import Ledger
from amun_plugin.adversarial.logits import Bounds
from amun_plugin.adversarial.pgd import attack_by_pgd
from amun_plugin.adversarial.preparation import Prepared, prepare
from amun_plugin.adversarial.result import Adversarial, Samples
from amun_plugin.adversarial.settings import Closest, Engine, Pgd
from amun_plugin.adversarial.twin import Caller, Twin, stand_in, undisturbed

PUBLISHED = Pgd()
DEFAULT = Engine()
SNAP = 1e-6
"""How far outside the bounds a pixel may lie, as a share of their range; it is put back inside."""


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    method: Pgd | Closest = PUBLISHED,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    engine: Engine = DEFAULT,
) -> Adversarial:
    """For each image ``(n, *s)`` within the bounds, finds one near it on which the model errs.

    ``labels`` ``(n,)`` int64 are the classes that the model shall no longer predict. The model
    gives logits ``(n, classes)``, each row independently of the others; a normalisation of the
    images belongs inside it. It is used in eval mode and left as it was.

    The attack asks a private copy, in float32 or, if the engine says so, in bfloat16. The model
    itself then judges, in its own type, every row that is reported as found. It must err by more
    than rounding, so that the row stays wrong in a batch of another size. Rows that it refutes are
    attacked once more with the model in place of the copy; after bfloat16, all rows without an
    example are attacked once more in float32. No random number is drawn, and no row's result
    depends on other rows by more than rounding.

    Forwards are counted as follows: one for each clean image, one with each gradient, those that
    the attack itself adds, one or more to verify each row that was found, and two or three on the
    first attacked row, to try out the copy.

    Raises TypeError or ValueError for arguments that cannot be attacked, including a model whose
    answer depends on the batch or that has no gradient path to the images.
    """
    box = _check_arguments(model, images, labels, method=method, bounds=bounds, engine=engine)
    caller = Caller(model, images, 256 if engine.batch == "auto" else engine.batch)
    with undisturbed(model, caller.device):
        clean = images.detach().to(torch.float32).clamp(*box)
        ledger = Ledger(Samples(clean, labels.to(clean.device), box))
        rows = ledger.open(caller)
        if len(rows):
            first = rows[:1]
            prepared = prepare(caller, clean[first], ledger.logits[first], engine)
            ledger.forwards[first] += prepared.forwards
            if prepared.reachable:
                _attack_rows(caller, prepared, method, ledger, rows)
            else:
                ledger.give_up(caller, rows)
    return ledger.result()


def _attack_rows(
    caller: Caller, prepared: Prepared, method: Pgd | Closest, ledger: Ledger, rows: Tensor
) -> None:
    """Attacks these rows, and once more those that the twin's precision leaves unsettled."""
    refuted = _pass(caller, prepared, method, ledger, rows)
    unsettled = rows[~ledger.ok[rows]] if prepared.twin.bf16 else refuted
    if len(unsettled):
        finer = prepared._replace(twin=_finer(caller, prepared.twin))
        _pass(caller, finer, method, ledger, unsettled)


def _pass(
    caller: Caller, prepared: Prepared, method: Pgd | Closest, ledger: Ledger, rows: Tensor
) -> Tensor:
    """Attacks these rows and has the caller's model judge them; gives the rows it refutes."""
    twin = prepared.twin
    samples = ledger.samples
    batch = prepared.batch
    if isinstance(method, Pgd):
        found = attack_by_pgd(twin, method, samples, rows, batch=batch)
    else:
        found = attack_closest(twin, method, samples, ledger.logits, rows, batch=batch)
    for candidates in found:
        ledger.enter(candidates)
    return ledger.judge(caller, rows, method.growth if isinstance(method, Pgd) else 2.0)


def _finer(caller: Caller, twin: Twin) -> Twin:
    """The twin in float32 if it was in bfloat16, else the caller's model itself."""
    if not twin.bf16:
        return stand_in(caller)
    twin.bf16 = False
    return twin


def _check_arguments(
    model: object, images: object, labels: object, *, method: object, bounds: object, engine: object
) -> Bounds:
    """The bounds as floats; raises TypeError or ValueError for what cannot be attacked."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    if not isinstance(method, Pgd | Closest):
        raise TypeError(f"method must be a Pgd or a Closest; got {method!r}")
    if not isinstance(engine, Engine):
        raise TypeError(f"engine must be an Engine; got {engine!r}")
    low, high = _check_bounds(bounds)
    _check_images(images, low, high)
    _check_labels(labels, len(images) if isinstance(images, Tensor) else 0)
    return low, high


def _check_bounds(bounds: object) -> Bounds:
    try:
        low, high = (float(bound) for bound in bounds)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise TypeError(f"bounds must be two numbers, low and high; got {bounds!r}") from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds must be finite, the first below the second; got {bounds!r}")
    return low, high


def _check_images(images: object, low: float, high: float) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a tensor; got {type(images).__name__}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floats in [{low:g}, {high:g}]; got {images.dtype}")
    if images.ndim < 2:
        raise ValueError(f"images must be (n, *shape); got shape {tuple(images.shape)}")
    if images.numel() == 0:
        if len(images):
            raise ValueError(f"images must have pixels; got shape {tuple(images.shape)}")
        return
    images = images.detach()
    if not bool(images.isfinite().all()):
        bad = (~images.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        raise ValueError(f"images must be finite; got nan or inf, first in rows {bad[:5]}")
    smallest = float(images.min())
    largest = float(images.max())
    slack = SNAP * (high - low)
    if smallest < low - slack or largest > high + slack:
        raise ValueError(
            f"images must lie in bounds=({low:g}, {high:g}); got [{smallest:g}, {largest:g}]. "
            f"Put the normalisation inside the model"
        )


def _check_labels(labels: object, n: int) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor; got {type(labels).__name__}")
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must be int64; got {labels.dtype}")
    if labels.shape != (n,):
        raise ValueError(f"labels must be ({n},), one per image; got shape {tuple(labels.shape)}")
    if n and int(labels.min()) < 0:
        raise ValueError(f"labels must not be negative; got {int(labels.min())}")
