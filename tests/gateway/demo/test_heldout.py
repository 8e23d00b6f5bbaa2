"""What the gateway must answer is computed from each model's own answers."""

from pathlib import Path

import numpy as np
import pytest

from gateway.demo.expect import StartError
from gateway.demo.heldout import HeldOut, cascade, load


def test_a_row_stays_where_somebody_is_sure_of_it(held_out: HeldOut) -> None:
    """Each stage is paid for every row it is asked, and answers only those it keeps."""
    found = cascade([held_out.of("m_fast"), held_out.of("m_accurate")], [0.9], [1, 40])
    assert [0, 1, 0, 1] == found.stage.tolist()
    assert [1, 2, 9, 4] == found.probabilities.argmax(axis=1).tolist()
    assert 4 * 1 + 2 * 40 == found.cost
    assert 0.75 == held_out.accuracy(found.probabilities.argmax(axis=1))


def test_without_a_version_the_newest_is_meant() -> None:
    """As Triton chooses."""
    versions = {"m_1": np.zeros((1, 10)), "m_2": np.ones((1, 10)), "m_other_3": np.zeros((1, 10))}
    found = HeldOut(np.zeros((1, 64)), np.zeros(1), versions)
    assert 1 == found.of("m")[0, 0]
    assert 0 == found.of("m", "1")[0, 0]


def test_a_model_that_was_never_trained_is_named(held_out: HeldOut) -> None:
    """With those there are."""
    with pytest.raises(StartError, match="'m_slow' version '2', and there are m_accurate_1, m_fast_1"):
        held_out.of("m_slow", "2")


def test_what_training_wrote_is_read(tmp_path: Path) -> None:
    """Images and labels apart, the rest by model."""
    np.savez(tmp_path / "held_out.npz", images=np.zeros((2, 64)), labels=np.arange(2), digits_fast_1=np.ones((2, 10)))
    found = load(tmp_path / "held_out.npz")
    assert [0, 1] == found.labels.tolist()
    assert ["digits_fast_1"] == list(found.probabilities)


def test_what_is_not_built_says_how(tmp_path: Path) -> None:
    """The command is in the error."""
    with pytest.raises(StartError, match="make demo"):
        load(tmp_path / "held_out.npz")
