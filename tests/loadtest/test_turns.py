"""Two trees in turns."""

from pathlib import Path

import pytest

from loadtest import turns

ROOT = str(Path(__file__).parents[2])


@pytest.mark.slow
def test_a_tree_beside_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """A line for each, and the first one's ratio is 1."""
    assert 0 == turns.main([ROOT, ROOT, "--turns", "3"])
    first, second = capfd.readouterr().out.splitlines()
    assert first.startswith(f"{ROOT}: ")
    assert first.endswith(f"1.000 × {ROOT}")
    assert 0.2 < float(second.rpartition(" in the middle; ")[2].split()[0]) < 5


def test_what_is_no_tree(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is measured, and it is said so."""
    assert 2 == turns.main([str(tmp_path)])
    assert "nothing measured" in capfd.readouterr().err
