"""The data set: scikit-learn's 1 797 handwritten digits, and the one fixed split every figure of this project refers to."""

from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS, HELD_OUT, VALIDATION = 1797, 719, 359
SPLIT_SEED = 20240917


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of the set: images float32 [n, 64] with grey values 0…1, labels int64 [n]."""

    images: Any
    labels: Any


def split() -> dict[str, Any]:
    """Return the row numbers of `held_out` (719), `validation` (359) and `train` (the rest); together, each row once."""
    order = np.random.default_rng(SPLIT_SEED).permutation(ROWS)
    validation_end = HELD_OUT + VALIDATION
    return {"held_out": order[:HELD_OUT], "validation": order[HELD_OUT:validation_end], "train": order[validation_end:]}


def load() -> dict[str, Rows]:
    """Return the three parts of the set as scikit-learn ships it."""
    from sklearn.datasets import load_digits  # here, so that the split can be checked where scikit-learn is not installed

    digits = load_digits()
    images, labels = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    return {name: Rows(images[rows], labels[rows]) for name, rows in split().items()}
