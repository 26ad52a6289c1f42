"""What goes into an attack, what it finds, and what comes out: one row for each sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Self

from torch import Tensor

from amun_plugin.adversarial.logits import Bounds


class Status(IntEnum):
    """What became of one sample."""

    FOUND = 0
    ALREADY_WRONG = 1
    """The model errs on the clean image, which is then its own example."""
    NOT_FOUND = 2
    """The attack ended without the model ever erring."""
    NO_GRADIENT = 3
    """The loss is flat at the point reached, so no direction leads on."""
    NON_FINITE = 4
    """The model gave logits or gradients that are not finite."""


class AttackIncomplete(RuntimeError):  # noqa: N818 - the name is the attack study's
    """Some samples have no adversarial example."""


@dataclass(frozen=True, eq=False, slots=True)
class Adversarial:
    """The result for n samples of shape s.

    All tensors are on the images' device, and none carries a graph.
    """

    x: Tensor
    """``(n, *s)`` float32 within the bounds; the clean image where nothing was found."""
    label: Tensor
    """``(n,)`` int64: the model's prediction for ``x``, in eval mode."""
    clean_label: Tensor
    """``(n,)`` int64: its prediction for the clean image."""
    distance: Tensor
    """``(n,)`` float32: L2 from the clean image; 0 where the model errs on it."""
    radius: Tensor
    """``(n,)`` float32: of the ball that holds the example; nan where there is no ball."""
    status: Tensor
    """``(n,)`` uint8: a ``Status``."""
    gradients: Tensor
    """``(n,)`` int32: gradients spent."""
    forwards: Tensor
    """``(n,)`` int32: forwards spent, including those of the gradients and of the checks."""

    @property
    def ok(self) -> Tensor:
        """``(n,)`` bool: the model errs on this row's ``x``."""
        return (self.status == Status.FOUND) | (self.status == Status.ALREADY_WRONG)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """The examples that exist, and the wrong labels that the model gives them."""
        return self.x[self.ok], self.label[self.ok]

    def require_all(self) -> Self:
        """Returns itself; raises AttackIncomplete if any row has no example."""
        bad = (~self.ok).nonzero().flatten().tolist()
        if bad:
            counts = {s.name: int((self.status == s).sum()) for s in Status}
            raise AttackIncomplete(
                f"{len(bad)} of {len(self.status)} samples have no adversarial example "
                f"({counts}); the first rows: {bad[:5]}"
            )
        return self


@dataclass(frozen=True, eq=False)
class Samples:
    """The n samples of shape s that are attacked."""

    clean: Tensor
    """``(n, *s)`` float32 within the bounds."""
    labels: Tensor
    """``(n,)`` int64: the classes that the model shall no longer predict."""
    bounds: Bounds

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Tensor) -> Samples:
        """These samples alone."""
        return replace(self, clean=self.clean[rows], labels=self.labels[rows])


@dataclass(frozen=True, eq=False)
class Candidates:
    """What an attack found for m samples, before the caller's model has judged it."""

    rows: Tensor
    """``(m,)`` int64: which samples."""
    x: Tensor
    """``(m, *s)``: the examples; arbitrary where none was found."""
    radius: Tensor
    """``(m,)``: of the balls that hold the examples; nan where there are no balls."""
    status: Tensor
    """``(m,)`` uint8: a ``Status``."""
    gradients: Tensor
    """``(m,)`` int32: spent."""
    forwards: Tensor
    """``(m,)`` int32: spent, including those of the gradients."""
