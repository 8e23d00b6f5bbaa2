"""What every form of a shadow's report shows: its sentences and its tables, as text."""

from __future__ import annotations

from gateway.page import Table
from gateway.shadow.report import ASKED, Report, percent, seconds
from routing.shadow.excess import FAR, Interval
from routing.shadow.verdict import FieldVerdict

_NONE = "–"


def said(report: Report) -> str:
    """What is asked instead of what."""
    place = f"{report.of} on route {report.route}" if report.of and report.route else report.of or f"route {report.route}"
    versions = " → ".join(version or "?" for version in report.versions)
    return f"{report.to} instead of {place}, {f'versions {versions}' if any(report.versions) else 'no versions seen yet'}"


def window(report: Report) -> str:
    """From when to when."""
    return f"{report.began} to {report.last}" if report.began else "nothing compared yet"


def counts(report: Report) -> str:
    """What became of the questions drawn."""
    dropped = {word: count for word, count in report.outcomes.items() if word not in ASKED}
    reasons = f" ({', '.join(f'{word} {count:,}' for word, count in dropped.items())})" if dropped else ""
    return (
        f"{report.drawn:,} drawn ({percent(report.fraction)}), {report.mirrored:,} mirrored, {report.pairs:,} asked twice;"
        f" {report.timeouts:,} timed out, {report.errors:,} failed, {report.dropped:,} not mirrored{reasons}"
    )


def fields(report: Report) -> Table:
    """How often each differs, with intervals that hold at all times."""
    return ("field", "verdict", "differs", "noise", "beyond noise", "still needs"), [_field(each) for each in report.fields]


def compared(report: Report) -> Table:
    """Times and cost."""
    return ("", "primary", "candidate", "of it"), [
        (
            each.what,
            _value(each.what, each.primary),
            _value(each.what, each.candidate),
            _NONE if each.ratio is None else percent(each.ratio),
        )
        for each in report.compared
    ]


def slices(report: Report) -> Table:
    """Whose questions, and of what kind."""
    return ("slice", "compared", "differs", "noise"), [
        (name, f"{part.compared:,}", _rate(part.differed, part.compared), _rate(part.noisy, part.pairs))
        for name, part in report.slices.items()
    ]


def _field(field: FieldVerdict) -> tuple[str, ...]:
    noise, beyond = (_interval(field.noise), _interval(field.excess)) if field.pairs else (_NONE, _NONE)
    return field.field, field.verdict, _interval(field.raw), noise, beyond, _still(field)


def _still(field: FieldVerdict) -> str:
    """How many mirrored questions more until a verdict."""
    if field.verdict != "not enough":
        return ""
    return "more than can be waited for" if field.more >= FAR else f"{field.more:,}"


def _interval(value: Interval) -> str:
    """`1.2 % [0.8, 2]`."""
    return f"{percent(value.value)} [{100 * value.low:.3g}, {100 * value.high:.3g}]"


def _rate(count: int, of: int) -> str:
    return percent(count / of) if of else _NONE


def _value(what: str, value: float) -> str:
    if not value:
        return _NONE
    return f"{value:,.6g}" if what == "cost" else seconds(value)
