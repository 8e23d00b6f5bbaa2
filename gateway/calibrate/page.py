"""What came of a calibration, as a page: what is promised, cost against quality, what more labels would bring, and the maps.

Names of stages and labels come from files: everything that is written here goes through `escape`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from gateway.calibrate.report import Report, facts, headline, table
from gateway.page import document, escaped, svg, verdict
from gateway.page import table as drawn
from gateway.review.words import share

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 340, 80, 170, 20, 48  # pixels
MOST_MAPS = 8  # labels whose maps are drawn, of each stage
PASSED, FAILED, CHOSEN, WISH, LINE = "#1d7f4e", "#9aa6b6", "#c4572f", "#b3261e", "#d5dae2"
COLOURS = ("#0b6e99", "#e08e2b", "#5b9c4b", "#8b5fa8", "#c2504a", "#3fa7a0", "#9a8b4f", "#d27ba6", "#7a8494")
Points = Sequence[tuple[float, float]]


def page(found: Report) -> str:
    """The whole page, in HTML."""
    word = verdict("certified", "good") if found.certified is not None else verdict("nothing certified", "bad")
    named = escape(" → ".join(each.stage for each in found.stages))
    body = (
        f"<h1>Calibration of {named} {word}</h1><p>{escape(headline(found))}</p>"
        + drawn((), [(name, escape(text)) for name, text in facts(found)])
        + drawn(*escaped(table(found)))
        + "".join(f'<p class="faint">{escape(note)}</p>' for note in found.notes)
        + (f"<h2>Cost and quality</h2>{_curve(found)}" if found.curve else "")
        + (f"<h2>What more labels would bring</h2>{_more(found)}" if found.more else "")
        + "".join(f"<h2>What a score of {escape(stage)} is worth</h2>{_maps(found, stage)}" for stage in found.maps)
    )
    return document("Calibration", body)


class _Axes:
    """Turns values into pixels, and draws what is around them."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float], names: tuple[str, str]) -> None:
        self._across, self._up, self._names = across, up, names
        self.parts: list[str] = []
        for x in _ticks(*across):
            self._rule(self.at(x, up[0]), self.at(x, up[1]), LINE)
            self.say((self.at(x, up[0])[0], HEIGHT - BOTTOM + 18), f"{x:,g}" if x < 100_000 else f"{x:,.0f}", "middle")
        for y in _ticks(*up):
            self._rule(self.at(across[0], y), self.at(across[1], y), LINE)
            self.say((LEFT - 8, self.at(across[0], y)[1] + 4), share(y), "end")
        self.say((LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 8), names[0], "middle")
        self.say((8, 12), names[1], "start")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels, within the picture."""
        (left, right), (low, high) = self._across, self._up
        across = min(1.0, max(0.0, (x - left) / ((right - left) or 1)))
        up = min(1.0, max(0.0, (y - low) / ((high - low) or 1)))
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    def line(self, points: Points, colour: str, style: str = "") -> None:
        """Through all of them."""
        spots = " ".join("{:.1f},{:.1f}".format(*self.at(*each)) for each in points)
        self.parts.append(f'<polyline points="{spots}" fill="none" stroke="{colour}" stroke-width="1.6" {style}/>')

    def dot(self, point: tuple[float, float], colour: str, radius: float, told: str) -> None:
        """One of them; `told` shows up where the pointer rests."""
        x, y = self.at(*point)
        title = f"<title>{escape(told)}</title>"
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}">{title}</circle>')

    def say(self, spot: tuple[float, float], text: str, anchor: str, colour: str = "") -> None:
        """A text at pixels."""
        paint = f' style="fill:{colour}"' if colour else ""
        self.parts.append(f'<text x="{spot[0]:.1f}" y="{spot[1]:.1f}" text-anchor="{anchor}"{paint}>{escape(text)}</text>')

    def picture(self) -> str:
        """All that was drawn."""
        return svg(WIDTH, HEIGHT, "".join(self.parts))

    def _rule(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        spots = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
        self.parts.append(f'<line {spots} stroke="{colour}" stroke-width="0.6"/>')


def _curve(found: Report) -> str:
    """Each candidate with what is known of its quality at least, the wish, and the one that was chosen."""
    points = sorted(found.curve, key=lambda point: point.cost)
    margin = 1 - found.keep
    seen = [each for point in points if point.quality > found.keep - 2 * margin for each in (point.quality, point.lower)]
    low = max(0.0, min([found.keep, *(each for each in seen if each is not None)]) - margin / 2)
    high = max(1.0, *(point.quality for point in points)) + margin / 5
    most = max(1.0, *(point.cost for point in points))
    dearest = found.stages[-1].stage
    axes = _Axes((0.0, most), (low, high), (f"cost of a row, relative to always {dearest}", f"quality, relative to {dearest}'s"))
    wish = axes.at(most, found.keep)
    axes.line([(0.0, found.keep), (most, found.keep)], WISH, 'stroke-dasharray="6 4"')
    axes.say((wish[0] + 8, wish[1] + 4), f"{share(found.keep)}: the wish", "start", WISH)
    for point in points:
        if point.quality < low:
            continue
        colour = PASSED if point.certified else FAILED
        cuts = ", ".join("left out" if cut is None else f"{cut:.4g}" for cut in point.cuts)
        told = f"accept {cuts}: cost {share(point.cost)}, quality {share(point.quality)}"
        if point.lower is not None:
            axes.line([(point.cost, min(point.lower, point.quality)), (point.cost, point.quality)], colour, 'opacity=".45"')
            told += f", at least {share(point.lower)}"
        axes.dot((point.cost, point.quality), colour, 3, told)
    if found.certified is not None:
        best = found.certified
        axes.dot((best.cost, best.quality), CHOSEN, 6, headline(found))
        spot = axes.at(best.cost, best.quality)
        axes.say((spot[0] + 10, spot[1] + 18), f"chosen: saves {share(found.saves)}", "start", CHOSEN)
    axes.dot((1.0, 1.0), "#1c2330", 5, f"always {dearest}")
    axes.say((axes.at(1.0, 1.0)[0] + 10, axes.at(1.0, 1.0)[1] + 4), f"always {dearest}", "start")
    note = (
        "Each dot is a candidate on the rows that certify; a line goes down to its quality at least. Green ones passed the test. "
        "They are tested from the safest to the cheapest, and none after the first that fails."
    )
    return axes.picture() + f'<p class="faint">{note}</p>'


def _more(found: Report) -> str:
    points = [(float(found.rows), found.saves), *((float(labels), 1 - cost) for labels, cost in found.more)]
    high = max(0.05, *(saved for _, saved in points)) * 1.1
    axes = _Axes((0.0, points[-1][0]), (0.0, high), ("labelled rows in all", "expected saving"))
    axes.line(points, PASSED)
    for labels, saved in points:
        axes.dot((labels, saved), PASSED, 4, f"{labels:,.0f} rows: saves about {share(saved)}")
    return axes.picture()


def _maps(found: Report, stage: str) -> str:
    """From the raw score to the chance of being right, label by label."""
    maps = found.maps[stage]
    named = [label for label in maps if label != "other"][: MOST_MAPS - 1]
    shown = [*named, *(["other"] if "other" in maps else [])]
    raw = [score for label in shown for score, _ in maps[label]]
    axes = _Axes((min(raw), max(raw)), (0.0, 1.0), ("raw confidence", "chance of being right"))
    for place, label in enumerate(shown):
        colour = COLOURS[-1] if label == "other" else COLOURS[place]
        ends = [(min(raw), maps[label][0][1]), *maps[label], (max(raw), maps[label][-1][1])]
        axes.line(ends, colour, 'stroke-dasharray="4 3"' if label == "other" else "")
        axes.say((WIDTH - RIGHT + 14, TOP + 14 + 18 * place), label[:22], "start", colour)
    rest = len(maps) - len(shown)
    more = f'<p class="faint">… and {rest} labels more</p>' if rest else ""
    return axes.picture() + more


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, four to eight of them."""
    rough = (high - low or 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough)
    return [round(place * step, 12) for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
