"""Shadows' reports as one page.

Names, ids and payloads come from clients: everything that is written here goes through `escape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gateway.page import document, escaped, svg, table, verdict
from gateway.shadow.report import Report, percent, seconds
from gateway.shadow.tables import compared, counts, fields, said, slices, window
from routing.shadow.verdict import FieldVerdict

_PAINT = {"same": "good", "different": "bad"}
_CANDIDATE, _NOISE, _SECOND = "#c4572f", "#3b76c4", "#7fa8dd"
_LEFT, _WIDTH, _ROW = 220, 620, 34  # pixels


def page(reports: Sequence[Report]) -> str:
    """The whole page, in HTML."""
    parts = "".join(_section(each) for each in reports) or "<p>The policy in force has no shadows.</p>"
    return document("Shadows", parts)


def _section(report: Report) -> str:
    word = verdict(report.verdict, _PAINT.get(report.verdict, ""))
    facts = [
        ("what", said(report)),
        ("window", window(report)),
        ("questions", counts(report)),
        ("promotion would change", report.promotion),
        ("the chance of a wrong verdict", f"{percent(report.alpha)}, over all fields and however often one looks"),
    ]
    return (
        f"<h1>{escape(report.model)}/{escape(report.shadow)} {word}</h1><p>{escape(report.why)}</p>"
        + table((), [(name, escape(text)) for name, text in facts])
        + (_fields(report) if report.fields else "")
        + (_times(report) if report.questions else "")
        + (f"<h2>Whose questions</h2>{table(*escaped(slices(report)))}" if report.slices else "")
        + (_examples(report) if report.examples else "")
    )


def _fields(report: Report) -> str:
    flips = "".join(_confusion(each) for each in report.fields if each.flips)
    return f"<h2>How often answers differ</h2>{_rates(report.fields)}{table(*escaped(fields(report)))}{flips}"


def _rates(found: Sequence[FieldVerdict]) -> str:
    """Each field's two rates with their intervals."""
    shown = found[:40]
    top = max((each.raw.value for each in shown), default=0.0)
    most = min(1.0, max(0.02, *(min(each.raw.high, 3 * top + 0.02) for each in shown), *(each.noise.value for each in shown)))
    bars = []
    for at, each in enumerate(shown):
        middle = 20 + at * _ROW
        bars.append(f'<text x="{_LEFT - 10}" y="{middle + 14}" text-anchor="end">{escape(each.field[:30])}</text>')
        for down, share, colour in ((0, each.raw, _CANDIDATE), (12, each.noise, _NOISE)):
            if share is each.noise and not each.pairs:
                continue
            start, low, high = (_LEFT + _WIDTH * min(1.0, value / most) for value in (0.0, share.low, share.high))
            length = _WIDTH * min(1.0, share.value / most)
            bars.append(f'<rect x="{start}" y="{middle + down}" width="{length:.1f}" height="8" fill="{colour}"/>')
            line = f'y1="{middle + down + 4}" y2="{middle + down + 4}" stroke="#8893a3"'
            bars.append(f'<line x1="{low:.1f}" x2="{high:.1f}" {line}/>')
    height = 20 + len(shown) * _ROW
    ticks = "".join(
        f'<line x1="{x}" x2="{x}" y1="14" y2="{height}" stroke="#d5dae2"/><text x="{x}" y="{height + 14}" text-anchor="middle">'
        f"{percent(most * part / 4)}</text>"
        for part in range(5)
        for x in [_LEFT + _WIDTH * part / 4]
    )
    key = _key((("candidate from primary", _CANDIDATE), ("primary from itself (noise)", _NOISE)), height + 36)
    return svg(_LEFT + _WIDTH + 100, height + 44, ticks + "".join(bars) + key)


def _times(report: Report) -> str:
    whose = (("primary", _SECOND), ("again", _NOISE), ("candidate", _CANDIDATE))
    shown = [(name, report.times[name], colour) for name, colour in whose if report.times.get(name)]
    most = max((max(values.values()) for _, values, _ in shown), default=0.0) or 1.0
    bars = []
    for at, (name, values, colour) in enumerate(shown):
        middle = 24 + at * _ROW
        x = {share: _LEFT + _WIDTH * value / most for share, value in values.items()}
        called = {"again": "primary, second ask"}.get(name, name)
        bars.append(f'<text x="{_LEFT - 10}" y="{middle + 12}" text-anchor="end">{called}</text>')
        bars.append(f'<line x1="{x["0.05"]:.1f}" x2="{x["0.99"]:.1f}" y1="{middle + 8}" y2="{middle + 8}" stroke="{colour}"/>')
        width = max(1.0, x["0.75"] - x["0.25"])
        bars.append(f'<rect x="{x["0.25"]:.1f}" y="{middle}" width="{width:.1f}" height="16" fill="{colour}" opacity=".75"/>')
        bars.append(
            f'<line x1="{x["0.5"]:.1f}" x2="{x["0.5"]:.1f}" y1="{middle}" y2="{middle + 16}" stroke="#fff" stroke-width="2"/>'
        )
        bars.append(f'<text x="{min(x["0.99"] + 6, _LEFT + _WIDTH):.1f}" y="{middle + 12}">p99 {seconds(values["0.99"])}</text>')
    note = '<p class="faint">Boxes from the 25th to the 75th percentile, lines from the 5th to the 99th.</p>'
    plot = svg(_LEFT + _WIDTH + 100, 24 + len(shown) * _ROW, "".join(bars))
    return f"<h2>Time and cost</h2>{plot}{note}{table(*escaped(compared(report)))}"


def _examples(report: Report) -> str:
    rows = [
        (
            escape(each.request),
            escape(", ".join(f"{field}: {why}" for field, why in each.fields.items())),
            "yes" if each.noisy else "no",
            escape(", ".join(f"{name} {value}" for name, value in each.traits.items()))
            + "".join(f"<pre>{escape(name)}: {escape(value)}</pre>" for name, value in each.payload.items()),
        )
        for each in report.examples
    ]
    head = ("request id", "differs in", "the primary, too", "what it was")
    return f"<h2>Worst examples</h2>{table(head, rows)}"


def _confusion(field: FieldVerdict) -> str:
    rows = [(escape(flip), f"{count:,}") for flip, count in sorted(field.flips.items(), key=lambda each: -each[1])[:20]]
    return f"<h2>Flips of {escape(field.field)}</h2>{table(('primary → candidate', 'times'), rows)}"


def _key(entries: Iterable[tuple[str, str]], y: int) -> str:
    return "".join(
        f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/><text x="{x + 16}" y="{y}">{text}</text>'
        for x, (text, colour) in zip(range(_LEFT, 2000, 220), entries, strict=False)
    )
