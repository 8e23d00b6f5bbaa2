"""How far a command is, told now and then."""

from __future__ import annotations

import pytest

from gateway.cli.progress import Progress


def test_progress_is_told_after_a_silence_only(capsys: pytest.CaptureFixture[str]) -> None:
    """With the command's name."""
    Progress("penstock policy test").tell("nothing examined")
    progress = Progress("penstock policy test", -1.0)
    for number in (1, 2):
        progress.tell(f"{number} rules examined")
    assert ["penstock policy test: 1 rules examined", "penstock policy test: 2 rules examined"] == (
        capsys.readouterr().err.splitlines()
    )
