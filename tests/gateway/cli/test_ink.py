"""Colour, where it can be seen."""

from __future__ import annotations

import io

import pytest

from gateway.cli.ink import Ink


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four kinds of words, each told from plain ones."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    ink = Ink(Terminal())
    assert "\x1b[32myes\x1b[0m" == ink.good("yes")
    assert 5 == len({"word", ink.good("word"), ink.bad("word"), ink.strong("word"), ink.faint("word")})


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_nobody_gets_it_against_his_will(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """NO_COLOR and terminals that have none are honoured."""
    monkeypatch.setenv(name, value)
    assert "yes" == Ink(Terminal()).good("yes")


def test_a_file_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipes and files are plain."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "yes" == Ink(io.StringIO()).good("yes")
