"""What reports that are pages are made of: one file of HTML that needs nothing else, no script, no font, no picture.

Much that is written here comes from clients or from files: text goes through `escape`, by whoever writes it into a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Its head, and its rows."""
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:68rem;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid #e3e7ee;vertical-align:top}
th{font-weight:600;color:#566}
.verdict{display:inline-block;padding:.1rem .7rem;border-radius:1rem;font-weight:600;color:#fff;background:#7a8494}
.good{background:#1d7f4e}.bad{background:#b3261e}.faint{color:#6a7383}
pre{white-space:pre-wrap;margin:.2rem 0;font-size:13px}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#445}@media(prefers-color-scheme:dark){
body{background:#14181f;color:#dfe4ec}th,.faint{color:#9aa6b6}th,td{border-color:#2b3340}svg text{fill:#b8c2d0}}
"""


def document(title: str, body: str) -> str:
    """The whole page; `body` is HTML."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>\n'


def verdict(word: str, paint: str) -> str:
    """A word in a coloured pill; `paint` is good, bad, or "" for neither."""
    return f'<span class="verdict {paint}">{escape(word)}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    top = f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>" if head else ""
    return f"<table>{top}{''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)}</table>"


def escaped(table: Table) -> Table:
    """The same, with its texts as HTML."""
    head, rows = table
    return [escape(cell) for cell in head], [[escape(cell) for cell in row] for row in rows]


def svg(width: int, height: int, content: str) -> str:
    """A picture within the page, in pixels; it shrinks with the window."""
    return f'<svg viewBox="0 0 {width} {height}" role="img">{content}</svg>'
