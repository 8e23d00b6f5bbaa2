"""The split is fixed: what was held out once stays held out."""

import hashlib

import digits
import numpy as np


def test_each_row_is_in_exactly_one_part() -> None:
    """719 rows held out, 359 for thresholds, the rest for training; together all 1 797."""
    parts = digits.split()
    assert {"held_out": 719, "validation": 359, "train": 719} == {name: len(rows) for name, rows in parts.items()}
    assert list(range(1797)) == sorted(np.concatenate(list(parts.values())))


def test_the_held_out_rows_are_always_the_same() -> None:
    """The numbers in the documents refer to these very rows, with any numpy."""
    rows = np.sort(digits.split()["held_out"]).astype("<i8")
    assert "9a735446ff323f6d" == hashlib.sha256(rows.tobytes()).hexdigest()[:16]
