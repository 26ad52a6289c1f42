"""The nearest adversarial examples of images, by the trajectory that AMUN publishes.

Algorithm 1 of https://arxiv.org/abs/2503.00917 in the form of the authors' code: projected gradient
ascent in an L2 ball whose radius doubles until the model errs, continued from the last point and
stopped at the first wrong one. It ascends ``logsumexp_{j≠y} z_j - z_y`` in place of the
cross-entropy, which is its softplus: the normalised direction is the same, and it never saturates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import torch
from torch import Tensor, nn


class Status(IntEnum):
    """What became of one sample."""

    FOUND = 0
    ALREADY_WRONG = 1
    """The model errs on the clean image, which is then its own example."""
    NOT_FOUND = 2
    """The ball covered all images there are, and the model never erred on the way."""
    NO_GRADIENT = 3
    NON_FINITE = 4


class IncompleteAttackError(RuntimeError):
    """Some samples have no adversarial example."""


@dataclass(frozen=True)
class Pgd:
    """The published search; the defaults are those of its code."""

    eps_init: float = 0.04
    """The first radius, in units of a pixel's range [0, 1]."""
    steps: int = 50
    """Steps a radius."""
    step: float = 0.1
    """Length of a step, as a share of the radius."""
    growth: float = 2.0

    def __post_init__(self) -> None:
        if not (self.eps_init > 0 and self.steps >= 1 and self.step > 0 and self.growth > 1):
            raise ValueError(
                f"eps_init, step > 0, steps >= 1 and growth > 1 are needed; got {self}"
            )


@dataclass(frozen=True, eq=False)
class Adversarial:
    """One row a sample; n samples of shape s."""

    images: Tensor
    """``(n, *s)`` float32 within the bounds; the clean image where nothing was found."""
    label: Tensor
    """``(n,)`` int64: what the model says of ``images``, in eval mode."""
    clean_label: Tensor
    """``(n,)`` int64: what it says of the clean images."""
    distance: Tensor
    """``(n,)`` float32: L2 from the clean image."""
    radius: Tensor
    """``(n,)`` float32: of the ball in which the example was found; nan where there is none."""
    status: Tensor
    """``(n,)`` uint8, a ``Status``."""
    gradients: Tensor
    """``(n,)`` int32: gradients spent."""
    forwards: Tensor
    """``(n,)`` int32: forwards spent, those of the gradients included."""

    @property
    def ok(self) -> Tensor:
        """``(n,)`` bool: the model errs on this row's image."""
        return (self.status == Status.FOUND) | (self.status == Status.ALREADY_WRONG)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Images and the wrong labels that the model gives them, of the rows that have any."""
        return self.images[self.ok], self.label[self.ok]

    def require_all(self) -> Self:
        """The same; raises IncompleteAttackError where a row has no example."""
        bad = (~self.ok).nonzero().flatten().tolist()
        if bad:
            counts = {s.name: int((self.status == s).sum()) for s in Status}
            raise IncompleteAttackError(
                f"{len(bad)} of {len(self.status)} samples have no adversarial example "
                f"({counts}); the first: {bad[:5]}"
            )
        return self


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    method: Pgd | None = None,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    batch: int = 256,
) -> Adversarial:
    """For each image ``(n, *s)`` float32 within the bounds, one near it on which the model errs.

    ``labels`` ``(n,)`` int64 are the classes not to give. The model is used in eval mode and in
    float32, and is left as it was. No random number is drawn.

    Raises TypeError or ValueError for tensors of another type, shape or range.
    """
    method = method or Pgd()
    low, high = bounds
    _check(images, labels, low, high)
    outside = torch.inference_mode(mode=False), torch.enable_grad()
    with outside[0], outside[1], torch.autocast(images.device.type, enabled=False), _eval(model):
        searches = [
            _Search(model, method, images[at].detach().clone(), labels[at].clone(), bounds)
            for at in torch.arange(len(images)).tensor_split(max(1, -(-len(images) // batch)))
        ]
        parts = [search.run() for search in searches]
    return Adversarial(
        *(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Adversarial))
    )


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """``(n,)``: logsumexp of the other logits less the label's; the cross-entropy's inner part."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.logsumexp(1) - own[:, 0]


class _Search:
    """The state of one batch: full rows for results, ``active`` for the rows still searched."""

    def __init__(
        self, model: nn.Module, method: Pgd, x: Tensor, y: Tensor, bounds: tuple[float, float]
    ) -> None:
        self.model, self.method = model, method
        self.low, self.high = bounds
        self.clean, self.labels, self.found = x, y, x.clone()
        n, device = len(x), x.device
        self.status = torch.full((n,), Status.NOT_FOUND, dtype=torch.uint8, device=device)
        self.radius = torch.full((n,), torch.nan, device=device)
        self.gradients = torch.zeros(n, dtype=torch.int32, device=device)
        self.forwards = torch.zeros(n, dtype=torch.int32, device=device)

    def run(self) -> Adversarial:
        clean_label = self._start() if len(self.clean) else self.labels
        farthest = torch.maximum(self.clean - self.low, self.high - self.clean)
        reach = _norm(farthest)[:, 0]
        active = (self.status == Status.NOT_FOUND).nonzero().flatten()
        x, eps = self.clean[active], self.method.eps_init
        while len(active):
            active, x = self._ascend(active, x, eps)
            within = eps < reach[active]
            active, x, eps = active[within], x[within], eps * self.method.growth
        return self._finish(clean_label)

    def _start(self) -> Tensor:
        """Sorts out the rows that need no search; returns the model's labels of clean images."""
        with torch.no_grad():
            logits = self._logits(self.clean)
        self.forwards += 1
        clean_label = logits.argmax(1)
        self.status[clean_label != self.labels] = Status.ALREADY_WRONG
        self.status[~logits.isfinite().all(1)] = Status.NON_FINITE
        return clean_label

    def _ascend(self, active: Tensor, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """All steps within one radius; returns the rows that are still labelled correctly.

        The last step's point is looked at too, so that it belongs to this radius.
        """
        for _ in range(self.method.steps):
            if not len(active):
                break
            active, x, gradient = self._look(active, x, eps)
            clean = self.clean[active]
            moved = x + eps * self.method.step * gradient / _shaped(_norm(gradient), x)
            away = moved - clean
            away = away * _shaped((eps / _norm(away)).clamp(max=1), x)
            x = (clean + away).clamp(self.low, self.high)
        if not len(active):
            return active, x
        with torch.no_grad():
            logits = self._logits(x)
        self.forwards[active] += 1
        kept = ~self._settle(active, x, logits, eps)
        return active[kept], x[kept]

    def _look(self, active: Tensor, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        """One forward and gradient; the rows that go on, with their gradients."""
        x = x.requires_grad_()
        logits = self._logits(x)
        (gradient,) = torch.autograd.grad(loss(logits, self.labels[active]).sum(), x)
        x, logits = x.detach(), logits.detach()
        self.forwards[active] += 1
        self.gradients[active] += 1
        settled = self._settle(active, x, logits, eps)
        size = _norm(gradient)[:, 0]
        broken = ~settled & ~size.isfinite()
        flat = ~settled & (size == 0)
        self.status[active[broken]] = Status.NON_FINITE
        self.status[active[flat]] = Status.NO_GRADIENT
        kept = ~(settled | broken | flat)
        return active[kept], x[kept], gradient[kept]

    def _settle(self, active: Tensor, x: Tensor, logits: Tensor, eps: float) -> Tensor:
        """Records the rows that are wrong, or not finite; which they are.

        Wrong means by more than rounding, so that the row stays wrong in a batch of another size.
        """
        labels = self.labels[active][:, None]
        own = logits.gather(1, labels)[:, 0]
        other = logits.scatter(1, labels, -torch.inf).amax(1)
        wrong = other - own > 1e-5 * logits.abs().amax(1)
        broken = ~logits.isfinite().all(1)
        wrong &= ~broken
        self.found[active[wrong]] = x[wrong]
        self.radius[active[wrong]] = eps
        self.status[active[wrong]] = Status.FOUND
        self.status[active[broken]] = Status.NON_FINITE
        return wrong | broken

    def _finish(self, clean_label: Tensor) -> Adversarial:
        """Asks the model once more about every row that is reported as found."""
        rows = (self.status == Status.FOUND).nonzero().flatten()
        label = clean_label.clone()
        if len(rows):
            with torch.no_grad():
                label[rows] = self._logits(self.found[rows]).argmax(1)
            self.forwards[rows] += 1
        refuted = rows[label[rows] == self.labels[rows]]
        self.status[refuted] = Status.NOT_FOUND
        self.found[refuted], self.radius[refuted] = self.clean[refuted], torch.nan
        label[refuted] = clean_label[refuted]
        return Adversarial(
            images=self.found,
            label=label,
            clean_label=clean_label,
            distance=_norm(self.found - self.clean)[:, 0],
            radius=self.radius,
            status=self.status,
            gradients=self.gradients,
            forwards=self.forwards,
        )

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        if logits.ndim != 2 or len(logits) != len(x) or logits.shape[1] < 2:
            raise ValueError(
                f"the model must give logits ({len(x)}, classes >= 2); got {tuple(logits.shape)}"
            )
        if int(self.labels.max()) >= logits.shape[1]:
            raise ValueError(f"a label is {int(self.labels.max())}; {logits.shape[1]} classes")
        return logits.float()


def _norm(x: Tensor) -> Tensor:
    """``(n, 1)``: L2 over all but the first dimension."""
    length: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1, keepdim=True)
    return length


def _shaped(column: Tensor, like: Tensor) -> Tensor:
    return column.view(-1, *[1] * (like.ndim - 1))


@contextmanager
def _eval(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check(images: Tensor, labels: Tensor, low: float, high: float) -> None:
    if images.dtype != torch.float32:
        raise TypeError(f"images must be float32 in [{low}, {high}]; got {images.dtype}")
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise TypeError(
            f"labels must be ({len(images)},) int64; got {tuple(labels.shape)}, {labels.dtype}"
        )
    if len(images) == 0:
        return
    smallest, largest = float(images.min()), float(images.max())
    if not (low <= smallest and largest <= high):
        raise ValueError(
            f"images must lie in [{low}, {high}]; got [{smallest:g}, {largest:g}]. "
            f"Put the normalisation inside the model"
        )
    if int(labels.min()) < 0:
        raise ValueError(f"labels must not be negative; got {int(labels.min())}")
