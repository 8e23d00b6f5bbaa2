"""Shadows' reports as one page that needs nothing else: no script, no font, no picture from anywhere.

Names, ids and payloads come from clients: everything that is written here goes through `escape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gateway.shadow.report import Report, percent, seconds
from gateway.shadow.tables import Table, compared, counts, fields, said, slices, window
from routing.shadow.verdict import FieldVerdict

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:68rem;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid #e3e7ee;vertical-align:top}
th{font-weight:600;color:#566}
.verdict{display:inline-block;padding:.1rem .7rem;border-radius:1rem;font-weight:600;color:#fff;background:#7a8494}
.same{background:#1d7f4e}.different{background:#b3261e}.faint{color:#6a7383}
pre{white-space:pre-wrap;margin:.2rem 0;font-size:13px}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#445}@media(prefers-color-scheme:dark){
body{background:#14181f;color:#dfe4ec}th,.faint{color:#9aa6b6}th,td{border-color:#2b3340}svg text{fill:#b8c2d0}}
"""
_CANDIDATE, _NOISE, _SECOND = "#c4572f", "#3b76c4", "#7fa8dd"
_LEFT, _WIDTH, _ROW = 220, 620, 34  # pixels


def page(reports: Sequence[Report]) -> str:
    """The whole page, in HTML."""
    parts = "".join(_section(each) for each in reports) or "<p>The policy in force has no shadows.</p>"
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shadows</title><style>{_STYLE}</style>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{parts}</body></html>\n'


def _section(report: Report) -> str:
    word = f'<span class="verdict {escape(report.verdict.replace(" ", "-"))}">{escape(report.verdict)}</span>'
    facts = [
        ("what", said(report)),
        ("window", window(report)),
        ("questions", counts(report)),
        ("promotion would change", report.promotion),
        ("the chance of a wrong verdict", f"{percent(report.alpha)}, over all fields and however often one looks"),
    ]
    return (
        f"<h1>{escape(report.model)}/{escape(report.shadow)} {word}</h1><p>{escape(report.why)}</p>"
        + _table((), [(name, escape(text)) for name, text in facts])
        + (_fields(report) if report.fields else "")
        + (_times(report) if report.questions else "")
        + (f"<h2>Whose questions</h2>{_table(*_escaped(slices(report)))}" if report.slices else "")
        + (_examples(report) if report.examples else "")
    )


def _fields(report: Report) -> str:
    flips = "".join(_confusion(each) for each in report.fields if each.flips)
    return f"<h2>How often answers differ</h2>{_rates(report.fields)}{_table(*_escaped(fields(report)))}{flips}"


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
    return _svg(height + 44, ticks + "".join(bars) + key)


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
    plot = _svg(24 + len(shown) * _ROW, "".join(bars))
    return f"<h2>Time and cost</h2>{plot}{note}{_table(*_escaped(compared(report)))}"


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
    return f"<h2>Worst examples</h2>{_table(head, rows)}"


def _confusion(field: FieldVerdict) -> str:
    rows = [(escape(flip), f"{count:,}") for flip, count in sorted(field.flips.items(), key=lambda each: -each[1])[:20]]
    return f"<h2>Flips of {escape(field.field)}</h2>{_table(('primary → candidate', 'times'), rows)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    top = f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>" if head else ""
    return f"<table>{top}{''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)}</table>"


def _escaped(table: Table) -> Table:
    head, rows = table
    return head, [[escape(cell) for cell in row] for row in rows]


def _key(entries: Iterable[tuple[str, str]], y: int) -> str:
    return "".join(
        f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/><text x="{x + 16}" y="{y}">{text}</text>'
        for x, (text, colour) in zip(range(_LEFT, 2000, 220), entries, strict=False)
    )


def _svg(height: int, content: str) -> str:
    return f'<svg viewBox="0 0 {_LEFT + _WIDTH + 100} {height}" role="img">{content}</svg>'
