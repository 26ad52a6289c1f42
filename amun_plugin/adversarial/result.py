"""What an attack gives back: one row a sample, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from torch import Tensor


class Status(IntEnum):
    """What became of one sample."""

    FOUND = 0
    ALREADY_WRONG = 1
    """The model errs on the clean image, which is then its own example."""
    NOT_FOUND = 2
    """The search came to its end, and the model never erred on the way."""
    NO_GRADIENT = 3
    """The loss is flat where the search stands, so there is no way to go."""
    NON_FINITE = 4
    """The model gave logits or gradients that are not finite."""


class AttackIncomplete(RuntimeError):  # noqa: N818 - the name is the attack study's
    """Some samples have no adversarial example."""


@dataclass(frozen=True, eq=False, slots=True)
class Adversarial:
    """n samples of shape s; all tensors lie where the images lay, and none has a graph."""

    x: Tensor
    """``(n, *s)`` float32 within the bounds; the clean image where nothing was found."""
    label: Tensor
    """``(n,)`` int64: what the model says of ``x``, in eval mode."""
    clean_label: Tensor
    """``(n,)`` int64: what it says of the clean images."""
    distance: Tensor
    """``(n,)`` float32: L2 from the clean image; 0 where the model errs on it."""
    radius: Tensor
    """``(n,)`` float32: of the ball in which the example was found; nan where there is none."""
    status: Tensor
    """``(n,)`` uint8, a ``Status``."""
    gradients: Tensor
    """``(n,)`` int32: gradients spent."""
    forwards: Tensor
    """``(n,)`` int32: forwards spent, those of the gradients and of the checks included."""

    @property
    def ok(self) -> Tensor:
        """``(n,)`` bool: the model errs on this row's ``x``."""
        return (self.status == Status.FOUND) | (self.status == Status.ALREADY_WRONG)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Images and the wrong labels that the model gives them, of the rows that have any."""
        return self.x[self.ok], self.label[self.ok]

    def require_all(self) -> Self:
        """The same; raises AttackIncomplete where a row has no example."""
        bad = (~self.ok).nonzero().flatten().tolist()
        if bad:
            counts = {s.name: int((self.status == s).sum()) for s in Status}
            raise AttackIncomplete(
                f"{len(bad)} of {len(self.status)} samples have no adversarial example "
                f"({counts}); the first: {bad[:5]}"
            )
        return self
