"""One call: for each image, one near it on which the model errs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amun_plugin.adversarial.bracket import Origin
from amun_plugin.adversarial.caller import Caller, undisturbed
from amun_plugin.adversarial.checks import check_arguments, check_classes, warn_of_probabilities
from amun_plugin.adversarial.closest import Nearest
from amun_plugin.adversarial.pgd import Warm
from amun_plugin.adversarial.preparation import Prepared, prepare
from amun_plugin.adversarial.result import Adversarial, Status
from amun_plugin.adversarial.samples import Samples
from amun_plugin.adversarial.settings import Closest, Engine, Pgd
from amun_plugin.adversarial.slots import run
from amun_plugin.adversarial.vectors import norm
from amun_plugin.adversarial.verification import verify

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

    ``labels`` ``(n,)`` int64 are the classes not to give.
    """
    box = check_arguments(model, images, labels, method=method, bounds=bounds, engine=engine)
    caller = Caller(model, images, 256 if engine.batch == "auto" else engine.batch)
    with undisturbed(model, caller.device):
        clean = images.detach().to(torch.float32).clamp(*box)
        work = _Work(Samples(clean, labels.to(clean.device), box))
        rows = work.begin(caller)
        if len(rows):
            first = rows[:1]
            prepared = prepare(caller, clean[first], work.logits[first], engine)
            work.forwards[first] += prepared.forwards
            if prepared.reachable:
                for part in _search(prepared, method, work.samples, rows):
                    work.take(part)
            else:
                work.give_up(caller, rows)
        work.verify(caller)
    return work.result()


@dataclass(frozen=True, eq=False)
class Part:
    """What the search found of some rows."""

    rows: Tensor
    x: Tensor
    radius: Tensor
    status: Tensor
    gradients: Tensor
    forwards: Tensor


def _search(
    prepared: Prepared, method: Pgd | Closest, samples: Samples, rows: Tensor
) -> Iterator[Part]:
    twin, batch = prepared.twin, prepared.batch
    if isinstance(method, Pgd):
        kind = Warm if method.restart == "warm" else Origin
        search = kind(twin, method, samples)
        for slots in run(search, rows, batch):
            x, radius = search.outcome(slots)
            spent = slots.gradients
            yield Part(slots.row, x, radius, slots.status, spent, spent)
        return
    for part in torch.split(rows, batch):
        nearest = Nearest(twin, method, samples.at(part))
        nearest.run()
        spent = torch.full_like(part, method.steps, dtype=torch.int32)
        nan = torch.full_like(nearest.radius, torch.nan)
        yield Part(part, nearest.x, nan, nearest.status, spent, spent + method.refine)


class _Work:
    """What is known of each row, where the images lie."""

    def __init__(self, samples: Samples) -> None:
        n, device, clean = len(samples), samples.clean.device, samples.clean
        self.samples = samples
        self.x = clean.clone()
        self.radius = torch.full((n,), torch.nan, device=device)
        self.status = torch.full((n,), Status.NOT_FOUND, dtype=torch.uint8, device=device)
        self.gradients = torch.zeros(n, dtype=torch.int32, device=device)
        self.forwards = torch.zeros(n, dtype=torch.int32, device=device)
        self.clean_label = torch.zeros(n, dtype=torch.int64, device=device)
        self.label = self.clean_label
        self.logits = torch.zeros(n, 0, device=device)

    def begin(self, caller: Caller) -> Tensor:
        """The rows that need a search, by the caller's model."""
        if not len(self.samples.clean):
            return self.clean_label
        self.logits = caller.logits(self.samples.clean)
        self.forwards += 1
        check_classes(self.samples.labels, self.logits.shape[1])
        self.clean_label = self.logits.argmax(1)
        self.status[self.clean_label != self.samples.labels] = Status.ALREADY_WRONG
        self.status[~self.logits.isfinite().all(1)] = Status.NON_FINITE
        rows = (self.status == Status.NOT_FOUND).nonzero().flatten()
        if len(rows):
            warn_of_probabilities(self.logits[rows])
        return rows

    def take(self, part: Part) -> None:
        """Writes down what was found."""
        rows, device = part.rows.to(self.x.device), self.x.device
        self.status[rows] = part.status.to(device)
        self.gradients[rows] += part.gradients.to(device)
        self.forwards[rows] += part.forwards.to(device)
        hit = part.status == Status.FOUND
        found = rows[hit.to(device)]
        self.x[found] = part.x[hit].to(device)
        self.radius[found] = part.radius[hit].to(device)

    def give_up(self, caller: Caller, rows: Tensor) -> None:
        """No gradient reaches the images: well if the model is constant, else a mistake.

        Raises ValueError for the mistake.
        """
        low, high = self.samples.bounds
        first, logits = rows[:1], self.logits[rows]
        opposite = caller.logits(low + high - self.samples.clean[first])
        self.forwards[first] += 1
        if not bool((logits == opposite).all()):
            raise ValueError(
                "model must have a gradient path from its images to its logits; got logits that "
                "change with the images and have none. Does it detach, or run under no_grad?"
            )
        self.status[rows] = Status.NO_GRADIENT

    def verify(self, caller: Caller) -> None:
        """Lets the caller's model judge every row that is reported as found."""
        self.label = self.clean_label.clone()
        rows = (self.status == Status.FOUND).nonzero().flatten()
        if not len(rows):
            return
        verdict = verify(caller, self.samples.at(rows), self.x[rows])
        self.forwards[rows] += verdict.forwards
        kept, lost = rows[verdict.ok], rows[~verdict.ok]
        self.x[kept], self.label[kept] = verdict.x[verdict.ok], verdict.label[verdict.ok]
        self.x[lost], self.radius[lost] = self.samples.clean[lost], torch.nan
        self.status[lost] = Status.NOT_FOUND

    def result(self) -> Adversarial:
        """All rows."""
        return Adversarial(
            x=self.x,
            label=self.label,
            clean_label=self.clean_label,
            distance=norm(self.x - self.samples.clean) if len(self.x) else self.radius,
            radius=self.radius,
            status=self.status,
            gradients=self.gradients,
            forwards=self.forwards,
        )
