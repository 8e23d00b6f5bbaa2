"""`penstock shadow report` before a gateway that answers as told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import main
from gateway.cli.ink import Ink
from gateway.cli.shadow import lines
from gateway.shadow.report import report
from tests.gateway.cli.conftest import Gateway
from tests.gateway.shadow.shadowed import NEXT, SHADOW, shown

INK = Ink(io.StringIO())


def told(*reports: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"shadows": msgspec.to_builtins(reports)}


def test_text(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """All shadows, one after the other; 1 where one of them may not take the place."""
    gateway.says = told(shown(1200, 0.0), shown(600, 0.05))
    assert 1 == main(["shadow", "report", "--admin", gateway.url])
    out = capsys.readouterr().out
    assert "SAME: no field differs" in out
    assert "DIFFERENT: label differs in 6.33 %" in out
    assert ("GET", "/api/shadows") == gateway.asked[:2]


def test_one_that_is_the_same(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Is status 0, for scripts; as JSON what the gateway said."""
    gateway.says = (200, json.loads(msgspec.json.encode(shown(1200, 0.0))))
    assert 0 == main(["shadow", "report", "digits/dark", "--admin", gateway.url, "--json"])
    assert gateway.says[1] == json.loads(capsys.readouterr().out)
    assert ("GET", "/api/shadows/digits/dark") == gateway.asked[:2]


def test_page(gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file, and nothing on standard output that a reader could take for the report."""
    gateway.says = told(shown(600, 0.05))
    file = tmp_path / "report.html"
    assert 1 == main(["shadow", "report", "--html", str(file), "--admin", gateway.url])
    assert file.read_text("utf-8").startswith("<!doctype html>")
    assert ("", f"written: {file}\n") == tuple(capsys.readouterr())


def test_a_policy_without_shadows(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Says so."""
    gateway.says = told()
    assert 0 == main(["shadow", "report", "--admin", gateway.url])
    assert "has no shadows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "words"), [((404, {"error": "no such shadow"}), ["a/b"]), ((401, {"error": "who are you?"}), [])]
)
def test_no_report_is_status_2(
    gateway: Gateway, said: tuple[int, dict[str, Any]], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """No such shadow, or no say here: nothing is known, which is neither yes nor no."""
    gateway.says = said
    assert 2 == main(["shadow", "report", *words, "--admin", gateway.url])
    assert said[1]["error"] in capsys.readouterr().err


def test_a_name_is_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is asked otherwise."""
    assert 2 == main(["shadow", "report", "digits"])
    assert "MODEL/NAME" in capsys.readouterr().err


def test_all_of_the_text() -> None:
    """The verdict first, then why, and each number behind it."""
    text = "\n".join(lines(shown(600, 0.05), INK))
    assert text.startswith("digits/dark  next instead of live, versions 1 → 2\nDIFFERENT: label differs in 6.33 %")
    for part in (
        "window    2023-11-14T22:13:20Z to 2023-11-14T22:23:19Z",
        "601 drawn (20 %), 600 mirrored, 600 asked twice; 0 timed out, 0 failed, 1 not mirrored (queue-full 1)",
        "field          verdict     differs",
        "values 38×; 7 → 9 38×",
        "cost  24,000   36,000     150 %",
        "shape=image[1×64]",
        "worst examples, by request id",
    ):
        assert part in text, part


def test_nothing_yet() -> None:
    """No empty tables."""
    text = "\n".join(lines(report("digits", SHADOW, (NEXT, None), None), INK))
    assert "NOT ENOUGH: no question has been answered by both yet" in text
    assert "window    nothing compared yet" in text
    assert "verdict" not in text
