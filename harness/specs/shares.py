"""Shares of a set: how pages print them, and how rows are drawn."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def percent(share: float) -> str:
    """A share as pages print it: ``10%``, ``0.5%``, ``33.3%``.

    A share is printed exactly if four digits suffice, else rounded to three. It gets more digits if
    rounding would turn it into 0% or 100%.
    """
    exact = (100 * Decimal(str(float(share)))).normalize()
    if len(exact.as_tuple().digits) <= 4:
        return f"{exact:f}%"
    rounded = (Decimal(f"{exact:.{digits}e}").normalize() for digits in range(2, 17))
    shown = next((each for each in rounded if (each < 100) == (exact < 100)), exact)
    return f"{shown:f}%"


def draw_share(rows: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A uniform draw of this share of the rows, in ascending order; all rows if the share is 1."""
    if share >= 1:
        return rows
    import torch  # noqa: PLC0415 - pages read rules without it

    order = torch.randperm(len(rows), generator=generator)
    return rows[order[: round(share * len(rows))]].sort().values
