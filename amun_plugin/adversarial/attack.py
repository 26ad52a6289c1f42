"""One call: for each image, one near it on which the model errs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from amun_plugin.adversarial.bracket import Origin
from amun_plugin.adversarial.caller import Caller, undisturbed
from amun_plugin.adversarial.checks import check_arguments
from amun_plugin.adversarial.closest import Nearest
from amun_plugin.adversarial.ledger import Entry, Ledger
from amun_plugin.adversarial.pgd import Warm
from amun_plugin.adversarial.preparation import Prepared, prepare
from amun_plugin.adversarial.result import Adversarial
from amun_plugin.adversarial.samples import Samples
from amun_plugin.adversarial.settings import Closest, Engine, Pgd
from amun_plugin.adversarial.slots import run
from amun_plugin.adversarial.twin import Twin, stand_in

PUBLISHED = Pgd()
DEFAULT = Engine()


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    method: Pgd | Closest = PUBLISHED,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    engine: Engine = DEFAULT,
) -> Adversarial:
    """For each image ``(n, *s)`` within the bounds, one near it on which the model errs.

    ``labels`` ``(n,)`` int64 are the classes not to give. The model gives logits ``(n, classes)``,
    each row's by itself; a normalisation of the images belongs inside it. It is used in eval mode
    and left as it was. The search asks a private copy in float32, or in bfloat16 where the engine
    says so; in the end the model itself judges, in its own type, every row that is reported as
    found, and not by a hair: the row stays wrong in a batch of another size. No random number is
    drawn, and no row's result depends on the others by more than rounding. Rows on which the copy
    errs too early, or not at all in bfloat16, are searched once more with what is more precise.

    Spent forwards are: one on each clean image, one with each gradient, those of the search's own,
    one or more to verify each row that was found, and two or three to try out the copy, on the
    first row that is searched.

    Raises TypeError or ValueError for arguments that cannot be attacked, among them a model whose
    answer depends on the batch, or has no gradient path to the images.
    """
    box = check_arguments(model, images, labels, method=method, bounds=bounds, engine=engine)
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
                refuted = _pass(caller, prepared, method, ledger, rows)
                missing = rows[~ledger.ok[rows]] if prepared.twin.bf16 else refuted
                if len(missing):
                    finer = prepared._replace(twin=_finer(caller, prepared.twin))
                    _pass(caller, finer, method, ledger, missing)
            else:
                ledger.give_up(caller, rows)
    return ledger.result()


def _pass(
    caller: Caller, prepared: Prepared, method: Pgd | Closest, ledger: Ledger, rows: Tensor
) -> Tensor:
    """Searches these rows and has what was found judged; gives the rows that were refuted."""
    for entry in _search(prepared, method, ledger, rows):
        ledger.enter(entry)
    return ledger.judge(caller, rows, method.growth if isinstance(method, Pgd) else 2.0)


def _finer(caller: Caller, twin: Twin) -> Twin:
    """What to ask about rows that a search with this twin cannot settle: float32, or the model."""
    if not twin.bf16:
        return stand_in(caller)
    twin.bf16 = False
    return twin


def _search(
    prepared: Prepared, method: Pgd | Closest, ledger: Ledger, rows: Tensor
) -> Iterator[Entry]:
    twin, batch, samples = prepared.twin, prepared.batch, ledger.samples
    if isinstance(method, Pgd):
        search = (Warm if method.restart == "warm" else Origin)(twin, method, samples)
        for slots in run(search, rows, batch):
            x, radius = search.outcome(slots)
            yield Entry(slots.row, x, radius, slots.status, slots.gradients, slots.gradients)
        return
    for part in torch.split(rows, batch):
        nearest = Nearest(twin, method, samples.at(part), ledger.logits[part])
        nearest.run()
        radius = torch.full_like(nearest.radius, torch.nan)
        spent = torch.full_like(part, method.steps, dtype=torch.int32)
        yield Entry(part, nearest.x, radius, nearest.status, spent, spent + method.refine)
