"""Policies and logs as commands read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.policy import traffic
from gateway.configuration.problems import PolicyError
from gateway.review.traffic.log import LOOK_EVERY, Tally
from tests.gateway.review.recorded import POLICY, sample, written


def test_a_policy_is_loaded_with_its_tables(tmp_path: Path) -> None:
    """And its version; one that cannot be used is refused."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    found = traffic.loaded(str(path))
    assert (["digits"], 12) == (list(found.tables), len(found.version))
    assert "gold" == found.treatment().decided(sample(tier="gold")).route
    path.write_text("version: 2")
    with pytest.raises(PolicyError):
        traffic.loaded(str(path))


def test_progress_is_told_to_who_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with how far it is; nothing of a log that is read at once."""
    path = written(tmp_path / "log.jsonl", *[sample()] * (2 * LOOK_EVERY))
    assert 2 * LOOK_EVERY == len(list(traffic.recorded([path], Tally(), "cmd")))
    assert "" == capsys.readouterr().err
    list(traffic.recorded([path], Tally(), "cmd", silence=0.0))
    assert capsys.readouterr().err.startswith(f"cmd: {LOOK_EVERY - 1:,} samples, ")
