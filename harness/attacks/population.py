"""Attacks on one model alone: scores of its outputs, and the classifiers that papers fit to them.

Logits are ``(n, c)`` and labels ``(n,)``; scores are ``(n,)``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.attacks.signals import Labels, log_probability, log_softmax, per_sample, probability

Array = NDArray[np.float64]

SMALLEST = np.log(1e-30)
"""What the released codes take for the logarithm of a probability of 0."""


def member_scores(logits: ArrayLike, labels: ArrayLike) -> dict[str, Array]:
    """The scores of all population attacks by name; higher is more member-like.

    ``correctness`` (0 or 1), ``confidence`` (p_y) and ``loss`` (log p_y) order samples alike, up to
    the ties of a rounded probability; ``entropy`` and ``modified_entropy`` are negated.
    """
    return {
        "correctness": correctness(logits, labels),
        "confidence": probability(logits, labels),
        "loss": log_probability(logits, labels),
        "entropy": -entropy(logits),
        "modified_entropy": -modified_entropy(logits, labels),
    }


def correctness(logits: ArrayLike, labels: ArrayLike) -> Array:
    """1 where the largest logit, the first of equal ones, is the label's, else 0."""
    return per_sample(logits, labels, lambda rows, own: (rows.argmax(axis=1) == own).astype(float))


def entropy(logits: ArrayLike) -> Array:
    """``−Σ p_c·log p_c``, in [0, log c]."""

    def value(rows: Array, _: Labels) -> Array:
        log_p = log_softmax(rows)
        p = np.exp(log_p)
        total: Array = (p * np.where(p > 0, log_p, 0.0)).sum(axis=1)
        return 0.0 - total

    return per_sample(logits, np.zeros(np.shape(logits)[-2], dtype=np.intp), value)


def modified_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """At least 0; it is 0 if the model is certain of the recorded label.

    ``−(1 − p_y)·log p_y − Σ_{c≠y} p_c·log(1 − p_c)``, where y is the row's own label. Many
    unlearning repositories share a version that applies every label of the batch to every row,
    ``m_entropy_salun``. It is +∞ where differences of logits exceed float64.

    Song & Mittal 2021, https://arxiv.org/abs/2003.10595
    """
    return per_sample(logits, labels, _modified_entropy)


def _modified_entropy(rows: Array, own: Labels) -> Array:
    log_p = log_softmax(rows)
    each = np.arange(len(rows))
    top = each, rows.argmax(axis=1)
    others = log_p.copy()
    others[top] = -np.inf
    most = others.max(axis=1)
    # 1 - p is exact for p below a half; for the largest class it is the sum of all others
    p = np.exp(log_p)
    p_of_top, p[top] = p[top], 0.0
    log_rest = np.log1p(-p)
    p[top] = p_of_top
    with np.errstate(invalid="ignore"):
        rest = most + np.log(np.exp(others - most[:, None]).sum(axis=1))
    log_rest[top] = np.where(np.isneginf(most), most, rest)
    surprise = np.exp(log_rest[each, own]) * log_p[each, own]
    log_rest[each, own] = 0.0
    surprise += (p * log_rest).sum(axis=1)
    total: Array = 0.0 - surprise
    return total


def m_entropy_salun(logits: ArrayLike, labels: ArrayLike) -> Array:
    """The modified entropy as released by Unlearn-Sparse, SalUn and AMUN, for parity.

    It takes ``1 − p_c`` for p_c in the columns of all labels of the batch, and ``log p_c`` for
    ``log(1 − p_c)``. So a row's value depends on the other rows' labels; where every class occurs,
    it is ``−Σ (1 − p_c)·log p_c``, which rises with confidence where the correct form falls. So it
    is a feature for ``svc``, which needs no direction, but no member score. A probability that
    float32 rounds to 0 counts as 1e-30.
    """
    columns = np.unique(np.asarray(labels))

    def value(rows: Array, _: Labels) -> Array:
        log_p = log_softmax(rows)
        weight = np.exp(log_p)
        log_p[weight.astype(np.float32) == 0] = SMALLEST
        weight[:, columns] = 1 - weight[:, columns]
        total: Array = (weight * log_p).sum(axis=1)
        return 0.0 - total

    return per_sample(logits, labels, value)


def probabilities(logits: ArrayLike) -> Array:
    """The softmax ``(n, c)`` of finite logits, the SVC attack's feature ``prob``."""
    rows = np.asarray(logits, dtype=np.float64)
    broken = np.count_nonzero(~np.isfinite(rows).all(axis=1))
    if broken:
        raise ValueError(f"logits must be finite; those of {broken} of {len(rows)} samples are not")
    with np.errstate(over="ignore"):
        found: Array = np.exp(log_softmax(rows))
    return found


def best_threshold(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """The score t that maximises (TPR + TNR) / 2 where scores of at least t are called members.

    The first such score wins, members before non-members, as in Song & Mittal's code, whose loop
    over all scores this replaces in O(n log n). Raises ValueError if either side is empty.
    """
    inside, outside = _scores("members", members), _scores("nonmembers", nonmembers)
    candidates = np.concatenate([inside, outside])
    below = np.sort(inside).searchsorted(candidates, side="left")
    found = (len(inside) - below) / len(inside)
    refused = np.sort(outside).searchsorted(candidates, side="left") / len(outside)
    return float(candidates[np.argmax(found + refused)])


def class_thresholds(
    members: ArrayLike,
    member_labels: ArrayLike,
    nonmembers: ArrayLike,
    nonmember_labels: ArrayLike,
) -> dict[int, float]:
    """``best_threshold`` of each class that either side has, by label."""
    inside, outside = np.asarray(members), np.asarray(nonmembers)
    of_inside, of_outside = np.asarray(member_labels), np.asarray(nonmember_labels)
    if of_inside.shape != inside.shape or of_outside.shape != outside.shape:
        raise ValueError(
            "labels must be as many as scores; got "
            f"{of_inside.shape} for {inside.shape} and {of_outside.shape} for {outside.shape}"
        )
    classes = np.union1d(of_inside, of_outside)
    for name, labels in (("members", of_inside), ("nonmembers", of_outside)):
        missing = np.setdiff1d(classes, labels)
        if len(missing):
            raise ValueError(f"{name} must have every class; got none of class {missing[0]}")
    return {
        int(c): best_threshold(inside[of_inside == c], outside[of_outside == c]) for c in classes
    }


def logistic_on_loss(members: ArrayLike, nonmembers: ArrayLike) -> Array:
    """The accuracies ``(10,)`` of a logistic regression on the loss, on ten held-out tenths.

    ``members`` and ``nonmembers`` are losses; the larger side is cut to a random sample, always the
    same. A half is guessing. This is the starting kit of the NeurIPS 2023 challenge,
    https://github.com/unlearning-challenge/starting-kit, whose mean over the ten is reported.
    """
    inside, outside = _scores("members", members), _scores("nonmembers", nonmembers)
    size = min(len(inside), len(outside))
    rng = np.random.default_rng(0)
    sides = [
        side if len(side) == size else side[np.sort(rng.permutation(len(side))[:size])]
        for side in (outside, inside)
    ]
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

    accuracies: Array = cross_val_score(
        LogisticRegression(),
        np.concatenate(sides)[:, None],
        np.repeat([0, 1], size),
        cv=StratifiedShuffleSplit(n_splits=10, random_state=0),
        scoring="accuracy",
    )
    return accuracies


def svc(members: ArrayLike, nonmembers: ArrayLike, forget: ArrayLike) -> NDArray[np.bool_]:
    """Which forget rows a support-vector classifier takes for non-members, ``(len(forget),)``.

    It learns from one feature of members and non-members, each ``(n,)`` or ``(n, d)``: any of
    ``member_scores`` (signs make no difference), ``m_entropy_salun`` or ``probabilities``. The mean
    of the result is the published value; its ideal is the retrained models', not a half.

    https://github.com/OPTML-Group/Unlearn-Saliency, ``Classification/evaluation/SVC_MIA.py``
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (members, nonmembers, forget)]
    inside, outside, asked = (side[:, None] if side.ndim == 1 else side for side in sides)
    if not len(inside) or not len(outside):
        raise ValueError(f"svc needs both sides; got {len(inside)} and {len(outside)} rows")
    if not len(asked):
        return np.zeros(0, dtype=np.bool_)
    from sklearn.svm import SVC

    attack = SVC(C=3, gamma="auto", kernel="rbf")
    attack.fit(np.concatenate([inside, outside]), np.repeat([1, 0], [len(inside), len(outside)]))
    taken: NDArray[np.bool_] = attack.predict(asked) == 0
    return taken


def _scores(name: str, values: ArrayLike) -> Array:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not len(scores):
        raise ValueError(f"{name} must be (n,) scores of at least one sample; got {scores.shape}")
    missing = np.count_nonzero(np.isnan(scores))
    if missing:
        raise ValueError(f"{name} must be numbers; {missing} of {len(scores)} are not")
    return scores
