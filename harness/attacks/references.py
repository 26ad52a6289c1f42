"""What reference models find a sample's signal to be: RMIA's p(x), by mean or trimmed mean."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Mode = Literal["online", "balanced", "offline"]
Space = Literal["log", "linear"]

SAMPLES = 2**12
"""Samples whose references are averaged at once; a block of 16 references takes 0.5 MB."""


def reference_signal(
    signals: ArrayLike,
    state: ArrayLike | None = None,
    *,
    mode: Mode = "online",
    trim: float = 0.0,
    a: float = 0.3,
    space: Space = "log",
) -> Array:
    """The references' signal of each sample, log p(x) in the space ``log``; ``(n,)`` or ``(n, q)``.

    ``state`` is ``(k, n)``, 0 where the model was not trained on the sample (OUT). ``online``
    averages all references, ``balanced`` the mean over IN and that over OUT, and ``offline`` takes
    ((1 + a)·mean over OUT + 1 − a) / 2. ``trim`` leaves out this share of the references at either
    end; RMIA's released code takes 0.2. ``space`` says whether ``signals`` and the result are
    logarithms; ``linear`` allows negative signals, and offline they must be probabilities.

    Raises ValueError if a sample lacks the references that the mode needs.
    """
    values = _finite_references(signals, space)
    if mode not in {"online", "balanced", "offline"}:
        raise ValueError(f"mode must be online, balanced or offline; got {mode!r}")
    if not 0 <= trim < 0.5:
        raise ValueError(f"trim must be in [0, 0.5); got {trim}")
    if mode == "online":
        return _averaged(values, np.ones(values.shape[:2], dtype=np.bool_), trim, space)
    is_out = _out(state, values)
    outside = _averaged(values, _some(is_out, "OUT", mode), trim, space)
    if mode == "offline":
        return _from_out(outside, a, space)
    inside = _averaged(values, _some(~is_out, "IN", mode), trim, space)
    if space == "linear":
        return (inside + outside) / 2
    mean: Array = np.logaddexp(inside, outside) - np.log(2)
    return mean


def privacy_meter_reference(signals: ArrayLike, state: ArrayLike, *, a: float = 0.3) -> Array:
    """p(x) ``(n,)`` as the maintained Privacy Meter computes it offline, for parity.

    ``signals`` is ``(k, n)`` probabilities. It averages the largest ⌊k/2⌋ signals after those of IN
    references are set to 0. So p(x) is right for a sample that is OUT in exactly half of them, and
    too large for a population that is OUT in all. ``count`` with γ = 1 completes the attack.
    """
    values = _finite_references(signals, "linear")
    is_out = _out(state, values)
    half = len(values) // 2
    if half < 2 or values.ndim != 2:
        raise ValueError(f"signals must be (k, n) of at least 4 references; got {values.shape}")
    largest = np.sort(np.where(is_out, values, 0.0).astype(np.float64), axis=0)[-half:]
    mean: Array = largest.mean(axis=0)
    return _from_out(mean, a, "linear")


def _averaged(values: NDArray[np.floating], used: Mask, trim: float, space: Space) -> Array:
    """The mean over the used references; in the space ``log``, that of the exponentials."""
    found = np.empty(values.shape[1:])
    for start in range(0, len(found), SAMPLES):
        at = slice(start, start + SAMPLES)
        block = values[:, at].astype(np.float64)
        mask = used[:, at].reshape(used[:, at].shape + (1,) * (block.ndim - 2))
        if space == "linear":
            found[at] = _mean(block, mask, trim)
            continue
        top = np.max(block, axis=0, initial=-np.inf, where=mask)
        shift = np.where(np.isneginf(top), 0.0, top)
        block -= shift
        with np.errstate(over="ignore", divide="ignore"):  # of references that are not used, and 0
            found[at] = np.log(_mean(np.exp(block, out=block), mask, trim)) + shift
    return found


def _mean(values: Array, used: Mask, trim: float) -> Array:
    """The mean over the first axis, with ⌊trim · used⌋ values cut off at either end."""
    number = np.count_nonzero(used, axis=0)
    if not trim:
        plain: Array = np.sum(values, axis=0, where=used) / number
        return plain
    ordered = np.sort(np.where(used, values, np.inf), axis=0)
    cut = (trim * number).astype(np.intp)
    place = np.arange(len(values)).reshape((-1,) + (1,) * (values.ndim - 1))
    kept = np.sum(ordered, axis=0, where=(place >= cut) & (place < number - cut))
    mean: Array = kept / (number - 2 * cut)
    return mean


def _from_out(outside: Array, a: float, space: Space) -> Array:
    """p(x) from the mean over OUT references, if p_IN(x) is about a·p_OUT(x) + 1 − a."""
    if not 0 <= a <= 1:
        raise ValueError(f"a must be in [0, 1]; got {a}")
    if space == "linear":
        return ((1 + a) * outside + 1 - a) / 2
    with np.errstate(divide="ignore"):
        found: Array = np.logaddexp(np.log((1 + a) / 2) + outside, np.log((1 - a) / 2))
    return found


def _finite_references(signals: ArrayLike, space: Space) -> NDArray[np.floating]:
    if space not in {"log", "linear"}:
        raise ValueError(f"space must be log or linear; got {space!r}")
    values = np.asarray(signals)
    if values.ndim not in {2, 3} or not np.issubdtype(values.dtype, np.floating):
        raise ValueError(
            "signals must be floating-point numbers, (k, n) or (k, n, q); "
            f"got {values.dtype} {values.shape}"
        )
    if not len(values):
        raise ValueError("signals must have at least one reference; got none")
    broken = np.zeros(values.shape[1], dtype=np.bool_)
    for start in range(0, values.shape[1], SAMPLES):
        block = values[:, start : start + SAMPLES]
        good = block < np.inf if space == "log" else np.isfinite(block)  # log 0 is a signal
        broken[start : start + SAMPLES] = ~good.all(axis=(0, *range(2, good.ndim)))
    if broken.any():
        raise ValueError(
            f"signals must be finite{' or −∞' if space == 'log' else ''}; those of "
            f"{np.count_nonzero(broken)} of {len(broken)} samples are not"
        )
    return values


def _out(state: ArrayLike | None, values: NDArray[np.floating]) -> Mask:
    if state is None or np.shape(state) != values.shape[:2]:
        raise ValueError(
            f"state must be {values.shape[:2]}, one a reference and sample; got "
            f"{'none' if state is None else np.shape(state)}"
        )
    is_out: Mask = np.asarray(state) == 0
    return is_out


def _some(used: Mask, side: str, mode: Mode) -> Mask:
    missing = np.count_nonzero(~used.any(axis=0))
    if missing:
        raise ValueError(
            f"{mode} needs an {side} reference of every sample; {missing} of {used.shape[1]} "
            "samples have none"
        )
    return used
