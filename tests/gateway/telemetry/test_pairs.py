"""Pairs as lines: what is in them and what never is, and what becomes of those that cannot be written."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from gateway.configuration.schema_gateway import Samples
from gateway.telemetry.pairs import PairLog, pair_log
from routing.shadow.pairs import Pair, Side


class Kept:
    """A taker of lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes, /) -> None:
        self.lines.append(line)

    async def close(self) -> None:
        """Nothing is left."""


def pair(request: str = "q", label: str = "7") -> Pair:
    primary = Side("accurate", "1", [label, "2"], np.array([0.9, -np.inf]))
    return Pair("digits", "dark", request, 1.23456, (primary, Side("fast", "", ["1", "2"], np.array([0.5, 0.25]))))


def test_a_line_for_each_row() -> None:
    """With both labels and scores by variant; no score is null."""
    kept = Kept()
    PairLog(kept).keep(pair())
    first, second = map(json.loads, kept.lines)
    assert {
        "time": 1.235,
        "model": "digits",
        "shadow": "dark",
        "request": "q",
        "row": 0,
        "accurate_label": "7",
        "accurate_confidence": 0.9,
        "accurate_version": "1",
        "fast_label": "1",
        "fast_confidence": 0.5,
        "fast_version": "",
    } == first
    assert (1, None, 0.25) == (second["row"], second["accurate_confidence"], second["fast_confidence"])


@pytest.mark.parametrize("bad", [pair(request="\ud800"), pair(label="x" * 20_000)])
def test_what_cannot_be_written(bad: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Is left out, and said once for each shadow."""
    kept = Kept()
    log = PairLog(kept)
    with caplog.at_level(logging.WARNING):
        log.keep(bad)
        log.keep(bad)
        log.missed("digits", "dark", "again")
    assert 1 == len(caplog.messages)
    assert "shadow 'dark' of model 'digits' has pairs that cannot be recorded" in caplog.messages[0]


async def test_a_file(tmp_path: Path) -> None:
    """Of bounded size, for whom gateway.yaml has a place; nothing without one."""
    assert pair_log(None) is None
    log = pair_log(Samples(str(tmp_path / "pairs.jsonl"), 1000, 2))
    assert log is not None
    for number in range(20):
        log.keep(pair(f"q{number}"))
    await log.close()
    files = [tmp_path / name for name in ("pairs.jsonl", "pairs.jsonl.1")]
    assert 2 == len(list(os.scandir(tmp_path)))
    assert all(file.stat().st_size <= 1000 for file in files)
    assert "q19" == json.loads(files[0].read_text().splitlines()[-1])["request"]
