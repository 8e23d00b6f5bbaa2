"""`penstock policy backtest`."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gateway.cli import main
from tests.gateway.review.recorded import POLICY, gold, sample, written

NEW = POLICY.replace("use: accurate}\n", "use: fast}\n")
NO_GOLD = POLICY.replace("      - {name: gold, match: {tier: gold}, use: accurate}\n", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two policies and a log."""
    (tmp_path / "old.yaml").write_text(POLICY)
    (tmp_path / "new.yaml").write_text(NEW)
    written(tmp_path / "log.jsonl", *[sample()] * 6, gold(), gold())
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    """The exit status; names with a dot are files in the folder."""
    return main(["policy", "backtest", *(str(folder / each) if "." in each else each for each in arguments)])


def test_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Requests, changes, refusals, cost and time, was and is; the moves; what it cannot know, last."""
    assert 0 == run(folder, "new.yaml", "--log", "log.jsonl")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("against what was recorded")
    digits = next(line.split() for line in lines if line.startswith("digits"))
    assert ["digits", "8", "25", "%", "0", "0", "86", "8", "-90.7", "%", "6.5", "2"] == digits[:12]
    assert any(line.split()[:4] == ["gold", "2", "100", "%"] for line in lines)
    assert "2 requests  gold: accurate  ⇒  gold: fast  digits, tier gold" in lines
    assert lines[-3].startswith("A backtest knows nothing of quality")


def test_against_another_policy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both decided anew."""
    assert 0 == run(folder, "new.yaml", "--policy", "new.yaml", "--log", "log.jsonl")
    assert "no request changes its route, or who answers it" in capsys.readouterr().out


def test_what_is_only_bounded_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the table and in words."""
    (folder / "new.yaml").write_text(NO_GOLD)
    assert 0 == run(folder, "new.yaml", "--log", "log.jsonl")
    told = capsys.readouterr().out
    assert "~8 (8–100)" in told
    assert "note: for 25 % of requests it is not known how far they would go up a cascade" in told


def test_the_plot(folder: Path) -> None:
    """An SVG beside the table; nothing else is drawn."""
    assert 0 == run(folder, "new.yaml", "--log", "log.jsonl", "--plot", "plot.svg")
    assert "svg" in ElementTree.parse(folder / "plot.svg").getroot().tag
    with pytest.raises(SystemExit) as ended:
        run(folder, "new.yaml", "--log", "log.jsonl", "--plot", "plot.png")
    assert 2 == ended.value.code


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs."""
    assert 0 == run(folder, "new.yaml", "--log", "log.jsonl", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (None, 8, 4, 3) == (told["old"], told["log"]["samples"], len(told["rows"]), len(told["notes"]))
    assert {"expected": 8.0, "low": 8.0, "high": 8.0} == told["rows"][0]["new"]["cost"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("gone.yaml", "--log", "log.jsonl"), 2, "No such file"),
        (("log.jsonl", "--log", "log.jsonl"), 1, "the policy cannot be used"),
        (("new.yaml", "--log", "gone.jsonl"), 2, "No such file"),
        (("new.yaml", "--log", "new.yaml"), 2, "no line of it is a recorded sample"),
        (("new.yaml", "--log", "log.jsonl", "--plot", "gone/plot.svg"), 2, "No such file"),
    ],
)
def test_used_wrongly(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, words: str
) -> None:
    """1 where the policy is refused, 2 where a file cannot be read or written, and why."""
    assert status == run(folder, *arguments)
    assert words in capsys.readouterr().err


def test_an_empty_log(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to tell, and no table."""
    (folder / "log.jsonl").write_text("")
    assert 0 == run(folder, "new.yaml", "--log", "log.jsonl")
    assert "0 recorded requests from 1 file\n" in capsys.readouterr().out
