"""What the figures of a backtest are called where people read of them, in its table as in its picture."""

from __future__ import annotations

from gateway.review.traffic.backtest import Cost, Time
from gateway.review.words import share


def number(value: float) -> str:
    """`7.25`, `65,287`, `1.248M`, `3G`: four digits at least."""
    for size, name in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.4g}{name}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cost_text(cost: Cost) -> str:
    """`82`; `2–82` where it is known within bounds only; `~41 (2–82)` where others' example tells what to expect."""
    if cost.low == cost.high:
        return number(cost.low)
    bounds = f"{number(cost.low)}–{number(cost.high)}"
    return bounds if cost.expected is None else f"~{number(cost.expected)} ({bounds})"


def mean_text(time: Time) -> str:
    """In ms: `12.3`, `12.3 (5 % unknown)`, `unknown`, `–` where nobody was answered."""
    if time.mean is None:
        return _none(time)
    return f"{time.mean:.3g}" + (f" ({share(time.unknown)} unknown)" if time.unknown else "")


def p95_text(time: Time) -> str:
    """The 95th percentile in ms: `12.3`, `12.3 to 40`, `12.3 or more`, `unknown`, `–`."""
    if time.p95_low is None:
        return _none(time)
    if time.p95_high is None:
        return f"{time.p95_low:.3g} or more"
    return f"{time.p95_low:.3g}" if time.p95_high == time.p95_low else f"{time.p95_low:.3g} to {time.p95_high:.3g}"


def _none(time: Time) -> str:
    return "unknown" if time.unknown else "–"
