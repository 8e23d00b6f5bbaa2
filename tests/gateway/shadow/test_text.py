"""The report in a terminal."""

from __future__ import annotations

import io

from gateway.cli.ink import Ink
from gateway.shadow.report import report
from gateway.shadow.text import lines
from tests.gateway.shadow.shadowed import NEXT, SHADOW, shown

INK = Ink(io.StringIO())


def test_all_of_it() -> None:
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
