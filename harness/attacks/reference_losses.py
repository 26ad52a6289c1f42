"""Attack-R and Attack-P: where a sample's loss lies among losses on data that was not trained on.

Losses are −log p_y, at least 0: the negative of ``harness.attacks.signals.log_probability``. Both
papers' scores are lower for members; here they are negated, so higher is more member-like.

Ye et al. 2022, https://arxiv.org/abs/2111.09679; as in the code of RMIA's paper.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LARGEST_LOSS = 1000.0
"""Attack-R's upper end, as released; the lower end is 0."""


def attack_r(target: ArrayLike, references: ArrayLike, state: ArrayLike) -> Array:
    """Minus the target's position in [0, 1] among a sample's OUT references, ``(n,)``.

    ``target`` is the ``(n,)`` losses of the model under test, ``references`` those ``(k, n)`` of
    the references, and ``state`` ``(k, n)`` is 0 where a reference was not trained on the sample
    (OUT). Positions are interpolated linearly between the sorted losses, 0 and 1000. Raises
    ValueError for a sample without an OUT reference.
    """
    own, others = _losses("target", target, 1), _losses("references", references, 2)
    is_out = np.asarray(state) == 0
    if others.shape[1:] != own.shape or is_out.shape != others.shape:
        raise ValueError(
            f"references and state must both be (k, {len(own)}); got {others.shape} and "
            f"{is_out.shape}"
        )
    number = np.count_nonzero(is_out, axis=0)
    if not number.all():
        raise ValueError(
            f"Attack-R needs an OUT reference of every sample; {np.count_nonzero(number == 0)} of "
            f"{len(own)} samples have none"
        )
    ends = np.broadcast_to([[0.0], [LARGEST_LOSS]], (2, len(own)))
    ordered = np.sort(np.concatenate([np.where(is_out, others, np.inf), ends]), axis=0)
    left = np.count_nonzero(ordered <= own, axis=0) - 1
    inside, at = left < number + 1, np.arange(len(own))
    lower = ordered[left, at]
    upper = ordered[np.where(inside, left + 1, left), at]
    width = np.where(inside, upper - lower, 1.0)
    return -np.where(inside, (left + (own - lower) / width) / (number + 1), 1.0)


def attack_p(target: ArrayLike, nonmembers: ArrayLike) -> Array:
    """Minus the share of non-members whose loss is below the target's, ``(n,)`` in [−1, 0].

    ``target`` is ``(n,)`` and ``nonmembers`` ``(m,)``, both losses of the model under test. The
    order, hence the AUC, is that of the loss.
    """
    own, others = _losses("target", target, 1), _losses("nonmembers", nonmembers, 1)
    if not len(others):
        raise ValueError("nonmembers must have at least one loss; got none")
    return -(np.sort(others).searchsorted(own, side="left") / len(others))


def _losses(name: str, values: ArrayLike, ndim: int) -> Array:
    losses = np.asarray(values, dtype=np.float64)
    if losses.ndim != ndim:
        raise ValueError(f"{name} must be {('(n,)', '(k, n)')[ndim - 1]}; got {losses.shape}")
    good = np.isfinite(losses) & (losses >= 0)
    if not good.all():
        raise ValueError(
            f"{name} must be losses, finite and at least 0; {np.count_nonzero(~good)} of "
            f"{losses.size} are not"
        )
    return losses
