"""Draws bars with their spread as an SVG, as text, without any library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 860, 150, 230  # pixels; bars stand between the names on the left and the figures on the right
ROW, BAR, HEAD, GAP = 26, 16, 44, 18
OURS, OTHERS, INK, FAINT = "#0b6e99", "#9aa5ad", "#1c2429", "#66727a"


@dataclass(frozen=True, slots=True)
class Bar:
    """One program: a value with the lowest and highest of its rounds, what is said of it, and whether it is ours."""

    name: str
    value: float
    lowest: float
    highest: float
    says: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars under one title, on a scale of their own that starts at zero."""

    title: str
    bars: tuple[Bar, ...]


def svg(panels: Sequence[Panel], foot: str) -> str:
    """The panels one below the other, and a line of small print."""
    height = sum(HEAD + ROW * len(panel.bars) + GAP for panel in panels) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}" role="img">',
        f"<title>{escape('; '.join(panel.title for panel in panels))}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    top = 0
    for panel in panels:
        parts += _panel(panel, top)
        top += HEAD + ROW * len(panel.bars) + GAP
    parts += [f'<text x="16" y="{top + 10}" font-size="11" fill="{FAINT}">{escape(foot)}</text>', "</svg>"]
    return "\n".join(parts) + "\n"


def _panel(panel: Panel, top: int) -> list[str]:
    most = max(bar.highest for bar in panel.bars) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / most
    parts = [f'<text x="16" y="{top + 28}" font-weight="600">{escape(panel.title)}</text>']
    for index, bar in enumerate(panel.bars):
        y = top + HEAD + ROW * index
        middle = y + BAR / 2
        low, high = LEFT + bar.lowest * scale, LEFT + bar.highest * scale
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 13}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{bar.value * scale:.1f}" height="{BAR}" fill="{OURS if bar.ours else OTHERS}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {y + 4}v8M{high:.1f} {y + 4}v8" stroke="{INK}" fill="none"/>',
            f'<text x="{high + 10:.1f}" y="{y + 13}" fill="{FAINT}">{escape(bar.says)}</text>',
        ]
    return parts
