"""`penstock policy diff`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import main
from tests.gateway.review.recorded import POLICY, gold, name, sample, written

NEW = POLICY.replace("use: accurate}\n", "use: fast}\n").replace("accept: 0.8", "accept: 0.7")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two policies and a log."""
    (tmp_path / "old.yaml").write_text(POLICY)
    (tmp_path / "new.yaml").write_text(NEW)
    written(tmp_path / "log.jsonl", *[sample()] * 6, gold(tenant=name("acme")), gold(tenant=name("acme")))
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    """The exit status; names of files are those in the folder."""
    return main(["policy", "diff", *(str(folder / each) if "." in each else each for each in arguments)])


def test_what_changes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where and what; status 1."""
    assert 1 == run(folder, "old.yaml", "new.yaml")
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.endswith(": 2 changes")
    assert [
        "  models.digits.routes.gold.use",
        "    use accurate → use fast",
        "  models.digits.routes.default.cascade",
        "    balanced keeps rows from 0.8 → 0.7",
    ] == rest


def test_no_difference(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, also where only the writing differs, and with a log."""
    assert 0 == run(folder, "old.yaml", "old.yaml", "--log", "log.jsonl")
    assert capsys.readouterr().out.startswith("no difference\n")
    (folder / "same.yaml").write_text("# said\n" + POLICY)
    assert 0 == run(folder, "old.yaml", "same.yaml")
    assert "they are only written differently" in capsys.readouterr().out


def test_whom_it_concerns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By tier and tenant, in shares and counts."""
    assert 1 == run(folder, "old.yaml", "new.yaml", "--log", "log.jsonl")
    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {
        "8 recorded requests from 1 file, 2001-09-09 01:46 to 2001-09-09 01:46 UTC",
        "25 % of requests move from accurate to fast (2 of 8)",
        "tier gold: 100 % of requests move from accurate to fast (2 of 2)",
        "tier free: 100 % of requests go up fast→balanced→accurate by other thresholds (6 of 6)",
        f"tenant {name('acme')}: 100 % of requests move from accurate to fast (2 of 2)",
    } <= set(told)


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs."""
    assert 1 == run(folder, "old.yaml", "new.yaml", "--log", "log.jsonl", "--json")
    told = json.loads(capsys.readouterr().out)
    assert {"path": "models.digits.routes.gold.use", "text": "use accurate → use fast"} in told["changes"]
    assert (8, 0, 2) == (told["traffic"]["samples"], told["traffic"]["damaged"], len(told["traffic"]["moved"]))
    assert {"tier", "tenant", "model"} == {part["kind"] for part in told["traffic"]["parts"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("old.yaml", "gone.yaml"), "No such file"),
        (("old.yaml", "log.jsonl"), "that policy cannot be used"),
        (("old.yaml", "new.yaml", "--log", "gone.jsonl"), "No such file"),
        (("old.yaml", "new.yaml", "--log", "old.yaml"), "no line of it is a recorded sample"),
    ],
)
def test_used_wrongly(folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    """Status 2, and why."""
    assert 2 == run(folder, *arguments)
    assert words in capsys.readouterr().err


def test_many_tenants_are_told_in_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ten with the most changes; the rest as a number."""
    written(folder / "log.jsonl", *[gold(tenant=name(f"t{number}")) for number in range(25)], sample())
    assert 1 == run(folder, "old.yaml", "new.yaml", "--log", "log.jsonl")
    told = capsys.readouterr().out
    assert "  16 tenants more for which something changes\n" in told
