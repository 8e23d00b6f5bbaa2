"""What a router is worth, told in numbers and in words, and the lines of the policy that would put it to use."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from gateway.prompts.rows import Prompts
from routing.prompt.gain import Numbers, curve, interval, threshold

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Point(msgspec.Struct, frozen=True):
    """Scores from `at_least` go to the strong model: this `share` of the prompts, for this part of its gain and of its cost."""

    share: float
    at_least: float
    recovered: float
    cost: float | None


class Worth(msgspec.Struct, frozen=True):
    """Of `rows` prompts of which `strong` need the strong model. `low` to `high` is 95 % of the APGR's.

    Drawing lots gets .5, and who knows each gain gets `best`.
    """

    rows: int
    strong: int
    apgr: float
    low: float
    high: float
    best: float
    points: tuple[Point, ...]
    wanted: Point | None = None  # the share that was asked for


def worth(prompts: Prompts, scores: Numbers, share: float | None, costs: tuple[float, float] | None, seed: int) -> Worth:
    """What these scores of the prompts are worth. `costs` of a weak and a strong answer. Raises ValueError without any gain."""
    found = curve(scores, prompts.gains)

    def point(wanted: float) -> Point:
        at_least = threshold(scores, wanted)
        real = float(np.mean(scores >= at_least))  # more where scores tie
        cost = None if costs is None else real + (1.0 - real) * costs[0] / costs[1]
        return Point(real, at_least, found.at(real), cost)

    low, high = interval(scores, prompts.gains, seed)
    return Worth(
        len(prompts.texts),
        int(prompts.needed.sum()),
        found.apgr,
        low,
        high,
        curve(prompts.gains, prompts.gains).apgr,
        tuple(map(point, SHARES)),
        None if share is None else point(share),
    )


def told(worth: Worth) -> Iterator[str]:
    """The worth, line by line."""
    yield f"{worth.rows:,} prompts, {worth.strong:,} of them need the strong model"
    others = f"drawing lots has 0.5, knowing every gain {worth.best:.3f}"
    yield f"APGR {worth.apgr:.3f} (95 %: {worth.low:.3f} to {worth.high:.3f}); {others}"
    costly = worth.points[0].cost is not None
    yield ""
    yield "to strong  at_least  of its gain" + ("  cost of always strong" if costly else "")
    shown = (*worth.points, *(() if worth.wanted is None else (worth.wanted,)))
    for point in sorted(shown, key=lambda each: each.share):
        mark = "  ← wanted" if point is worth.wanted else ""
        cost = "" if point.cost is None else f"  {point.cost:>21.1%}"
        yield f"{point.share:>9.1%}  {point.at_least:<8.6g}  {point.recovered:>11.1%}{cost}{mark}"


def patch(file: str, sha256: str, at_least: float | None) -> str:
    """The lines that put the router into a policy, for a person to paste and to name the variants of."""
    threshold = f"{at_least:.6g}" if at_least is not None else "0.5"
    return f"""# into the model, beside its variants:
routers:
  difficulty: {{file: {file}, sha256: "{sha256}", input: INPUT}}
# and into its routes, above those that take the same requests:
routes:
  - name: hard-prompts
    match: {{prompt: {{difficulty: {{at_least: {threshold}}}}}}}
    use: STRONG"""
