"""Draws a backtest as an SVG, as text, without any library: who answers, what it costs, how long backends take, was and is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from gateway.review.traffic.backtest import Result, Row, Time, Was
from gateway.review.traffic.figures import cost_text, mean_text, number, p95_text
from gateway.review.words import share

WIDTH, LEFT, RIGHT = 920, 190, 240  # pixels; bars stand between the names on the left and the figures on the right
SPAN = WIDTH - LEFT - RIGHT
BAR, PAIR, HEAD, GAP = 15, 42, 52, 16
MOST = 12  # rows of a panel
NEW, OLD, INK, FAINT, LINE = "#0b6e99", "#a9b4bb", "#1c2429", "#66727a", "#d9dfe2"
WAYS = ("#0b6e99", "#e08e2b", "#5b9c4b", "#8b5fa8", "#c2504a", "#3fa7a0", "#9a8b4f", "#d27ba6")  # of who answers
REFUSED, OTHERS = "#2b2b2b", "#a9b4bb"


class Bar(NamedTuple):
    """A value with the bounds it lies in and what is said of it. No value: only said."""

    value: float | None
    low: float
    high: float
    says: str


class Pair(NamedTuple):
    """What was and what is, under one name."""

    name: str
    old: Bar
    new: Bar


def svg(result: Result, title: str, foot: Sequence[str]) -> str:
    """The whole picture; `foot` is small print, a line each."""
    rows = (result.rows[1:] or result.rows)[:MOST]
    costs = [Pair(_name(row), _cost(row.old), _cost(row.new)) for row in rows]
    times = [Pair(_name(row), _time(row.old.time), _time(row.new.time)) for row in rows]
    panels = [
        _ways(result),
        _pairs("Cost, in the policies' unit; a line spans what it may be", costs),
        _pairs("Time at backends in ms: the bar is the mean, the mark the 95th percentile", times),
    ]
    height = 40 + sum(panel.height for panel in panels) + 17 * len(foot) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 28, title, size=15, weight=600),
    ]
    top = 40
    for panel in panels:
        parts.append(f'<g transform="translate(0 {top})">')
        parts += [*panel.parts, "</g>"]
        top += panel.height
    parts += [_text(16, top + 16 + 17 * index, line, size=11, fill=FAINT) for index, line in enumerate(foot)]
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Panel(NamedTuple):
    height: int
    parts: list[str]


def _ways(result: Result) -> _Panel:
    """One bar for all requests as they were and one as they would be, cut by who answers."""
    rows = [row for row in result.rows[1:] if not row.tier][:MOST] or list(result.rows[:1])
    labels = list(dict.fromkeys(label for row in rows for side in (row.old, row.new) for label in side.answered))
    colours = {label: WAYS[index] if index < len(WAYS) else OTHERS for index, label in enumerate(labels)}
    refused = any(row.old.refused or row.new.refused for row in rows)
    parts = [_text(16, 30, "Who answers", weight=600), *_legend(colours, refused)]
    for index, row in enumerate(rows):
        y = HEAD + PAIR * index
        parts.append(_text(LEFT - 44, y + 21, _short(row.model or "everything", 20), anchor="end"))
        for offset, what, side in ((0, "was", row.old), (BAR + 3, "is", row.new)):
            parts.append(_text(LEFT - 8, y + offset + 12, what, size=11, fill=FAINT, anchor="end"))
            parts += _stack(side, row.requests, colours, y + offset)
        parts.append(_text(LEFT + SPAN + 10, y + 21, _changed(row), fill=FAINT))
    return _Panel(HEAD + PAIR * len(rows) + GAP, parts)


def _legend(colours: dict[str, str], refused: bool) -> Iterator[str]:
    x = 120.0
    for label, colour in [*colours.items(), *([("refused", REFUSED)] if refused else [])]:
        said = _short(label, 34)
        if x + 26 + 6.6 * len(said) > WIDTH - 10:
            yield _text(x, 30, "…", fill=FAINT)
            return
        yield f'<rect x="{x:.0f}" y="20" width="11" height="11" fill="{colour}"/>'
        yield _text(x + 16, 30, said, size=12)
        x += 34 + 6.6 * len(said)


def _stack(side: Was, whole: float, colours: dict[str, str], y: float) -> Iterator[str]:
    ways = [(label, side.answered.get(label, 0.0), colour) for label, colour in colours.items()]
    ways.append(("refused", side.refused, REFUSED))
    x = float(LEFT)
    for label, requests, colour in ways:
        width = requests / whole * SPAN if whole else 0.0
        if width > 0:
            said = f"<title>{escape(label)}: {requests:,.0f}</title>"
            yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}">{said}</rect>'
            if width > 42:
                yield _text(x + width / 2, y + 12, share(requests / whole), size=11, fill="#ffffff", anchor="middle")
            x += width


def _pairs(title: str, pairs: list[Pair]) -> _Panel:
    most = max((bar.high for pair in pairs for bar in (pair.old, pair.new)), default=0.0)
    ticks = _ticks(most)
    scale = SPAN / ticks[-1]
    bottom = HEAD + PAIR * len(pairs) - 4
    parts = [_text(16, 30, title, weight=600)]
    for tick in ticks:
        x = LEFT + tick * scale
        parts.append(f'<path d="M{x:.1f} {HEAD - 6}V{bottom}" stroke="{LINE}"/>')
        parts.append(_text(x, bottom + 13, number(tick), size=10, fill=FAINT, anchor="middle"))
    for index, pair in enumerate(pairs):
        y = HEAD + PAIR * index
        parts.append(_text(LEFT - 44, y + 21, _short(pair.name, 20), anchor="end"))
        for offset, what, bar, colour in ((0, "was", pair.old, OLD), (BAR + 3, "is", pair.new, NEW)):
            parts.append(_text(LEFT - 8, y + offset + 12, what, size=11, fill=FAINT, anchor="end"))
            parts += _bar(bar, colour, y + offset, scale)
    return _Panel(HEAD + PAIR * len(pairs) + GAP + 10, parts)


def _bar(bar: Bar, colour: str, y: float, scale: float) -> Iterator[str]:
    if bar.value is not None:
        yield f'<rect x="{LEFT}" y="{y}" width="{bar.value * scale:.1f}" height="{BAR}" fill="{colour}"/>'
    if bar.high > bar.low:
        low, high = LEFT + bar.low * scale, LEFT + bar.high * scale
        yield (
            f'<path d="M{low:.1f} {y + BAR / 2}H{high:.1f}M{low:.1f} {y + 3}v9M{high:.1f} {y + 3}v9" stroke="{INK}" fill="none"/>'
        )
    elif bar.value is None or bar.high > bar.value:
        yield f'<path d="M{LEFT + bar.high * scale:.1f} {y + 1}v{BAR - 2}" stroke="{INK}" stroke-width="2"/>'
    yield _text(LEFT + SPAN + 10, y + 12, bar.says, size=12, fill=INK if colour == NEW else FAINT)


def _cost(side: Was) -> Bar:
    cost = side.cost
    return Bar(cost.low if cost.low == cost.high else cost.expected, cost.low, cost.high, cost_text(cost))


def _time(time: Time) -> Bar:
    if time.mean is None or time.p95_low is None:
        return Bar(None, 0.0, 0.0, mean_text(time))
    high = time.p95_high or time.p95_low
    says = f"mean {mean_text(time)}, 95th {p95_text(time)}"
    return Bar(time.mean, time.p95_low if high > time.p95_low else high, high, says)


def _name(row: Row) -> str:
    if not row.model:
        return "everything"
    return f"{row.model}, {row.tier}" if row.tier else row.model


def _changed(row: Row) -> str:
    return f"{share(row.changed / row.requests)} change" if row.requests else ""


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 to at least `most`, five or six of them."""
    if most < 1e-9:
        return [0.0, 1.0]
    step = 10.0 ** int(f"{most:e}".split("e")[1])
    for smaller in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0):
        if most / (step * smaller) <= 5.5:
            step *= smaller
            break
    ticks = [0.0]
    while ticks[-1] < most:
        ticks.append(len(ticks) * step)
    return ticks


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(x: float, y: float, text: str, **style: object) -> str:
    names = {"size": "font-size", "weight": "font-weight", "fill": "fill", "anchor": "text-anchor"}
    more = "".join(f' {names[name]}="{value}"' for name, value in style.items())
    return f'<text x="{x:g}" y="{y:g}"{more}>{escape(text)}</text>'
