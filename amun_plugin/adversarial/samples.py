"""What is attacked: clean images, the labels not to give, and the box that images live in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from amun_plugin.adversarial.vectors import Bounds


@dataclass(frozen=True, eq=False)
class Samples:
    """n samples of shape s."""

    clean: Tensor
    """``(n, *s)`` float32 within the bounds."""
    labels: Tensor
    """``(n,)`` int64."""
    bounds: Bounds

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: Tensor) -> Samples:
        """These samples alone."""
        return replace(self, clean=self.clean[rows], labels=self.labels[rows])
