"""How far two answers' rows are from each other where single elements say little: labels, rankings, distributions, directions.

Every function takes two matrices of one shape, a row for each question, and gives a value for each row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Values = npt.NDArray[Any]
PERSISTENCE = 0.9  # of rank-biased overlap: the first ten places have 86 % of the weight


def labels(one: Matrix, other: Matrix) -> tuple[Values, Values]:
    """The place of each row's largest value, the first of equals."""
    return one.argmax(axis=1), other.argmax(axis=1)


def overlap(one: Matrix, other: Matrix, top: int) -> Matrix:
    """The share of the `top` largest that both have, 0 to 1; order makes no difference."""
    return _agreement(one, other, top)[:, -1]


def rank_biased(one: Matrix, other: Matrix, top: int) -> Matrix:
    """Rank-biased overlap of the `top` largest, extrapolated, 0 to 1: Webber, Moffat, Zobel 2010, equation 32."""
    agreement = _agreement(one, other, top)
    depths = np.arange(1, agreement.shape[1] + 1)
    weights = (1 - PERSISTENCE) * PERSISTENCE ** (depths - 1)
    return np.asarray(agreement @ weights + agreement[:, -1] * PERSISTENCE ** depths[-1])


def variation(one: Matrix, other: Matrix) -> Matrix:
    """Total variation of two distributions, 0 to 1; rows are made to sum to 1. NaN for what is no distribution."""
    return np.asarray(np.abs(_distributions(one) - _distributions(other)).sum(axis=1) / 2)


def jensen_shannon(one: Matrix, other: Matrix) -> Matrix:
    """Jensen-Shannon divergence in bits, 0 to 1: Lin 1991. NaN for what is no distribution."""
    first, second = _distributions(one), _distributions(other)
    middle = (first + second) / 2
    return np.clip((_entropy(middle) - (_entropy(first) + _entropy(second)) / 2), 0, 1)


def cosine(one: Matrix, other: Matrix) -> Matrix:
    """Cosine of the angle, -1 to 1; two zero rows point the same way, one alone at a right angle."""
    lengths = [np.abs(each).max(axis=1, keepdims=True, initial=0.0) for each in (one, other)]  # else squares overflow
    first, second = (each / np.where(length > 0, length, 1) for each, length in zip((one, other), lengths, strict=True))
    product = (first * second).sum(axis=1)
    size = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    nothing = (lengths[0] == 0)[:, 0] & (lengths[1] == 0)[:, 0]
    return np.where(nothing, 1.0, np.clip(product / np.where(size > 0, size, 1), -1, 1))


def _agreement(one: Matrix, other: Matrix, top: int) -> Matrix:
    """By row and depth up to `top`: the share of that many largest that both have."""
    top = min(top, one.shape[1])
    first, second = (np.argsort(-each, axis=1, kind="stable")[:, :top] for each in (one, other))
    same = first[:, :, None] == second[:, None, :]  # places of the same element: both are in by the deeper of the two
    shared = np.stack([same[:, :depth, :depth].sum(axis=(1, 2)) for depth in range(1, top + 1)], axis=1)
    return np.asarray(shared / np.arange(1, top + 1))


def _distributions(rows: Matrix) -> Matrix:
    whole = rows.sum(axis=1, keepdims=True)
    bad = (whole <= 0) | (rows < 0).any(axis=1, keepdims=True)
    return np.where(bad, np.nan, rows / np.where(bad, 1, whole))


def _entropy(rows: Matrix) -> Matrix:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-np.where(rows == 0, 0.0, rows * np.log2(rows)).sum(axis=1))
