"""A shadow's report as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from gateway.shadow.report import Report, percent, seconds
from routing.excess import FAR, Interval
from routing.shadow_verdict import FieldVerdict

SHOWN = 12  # slices


class Ink(Protocol):
    """Colours, or none."""

    def strong(self, text: str) -> str:
        """Stands out."""
        ...

    def good(self, text: str) -> str:
        """All is well."""
        ...

    def bad(self, text: str) -> str:
        """Something is not."""
        ...

    def faint(self, text: str) -> str:
        """May be passed over."""
        ...


def lines(report: Report, ink: Ink) -> Iterator[str]:
    """The report, line by line."""
    paint = {"same": ink.good, "different": ink.bad}.get(report.verdict, ink.strong)
    yield f"{ink.strong(f'{report.model}/{report.shadow}')}  {said(report)}"
    yield f"{paint(report.verdict.upper())}: {report.why}"
    yield f"promotion would change: {report.promotion}"
    yield f"window    {window(report)}"
    yield f"questions {counts(report)}"
    if report.fields:
        yield from (
            "",
            *_table(("field", "verdict", "differs", "noise", "beyond noise", "still needs"), map(_row, report.fields)),
        )
        yield from _details(report)
    if report.questions:
        rows = [(each.what, *_both(each.what, each.primary, each.candidate), _ratio(each.ratio)) for each in report.compared]
        yield from ("", *_table(("", "primary", "candidate", "of it"), rows))
    if report.slices:
        parts = list(report.slices.items())
        rows = [
            (name, f"{part.compared:,}", rate(part.differed, part.compared), rate(part.noisy, part.pairs)) for name, part in parts
        ]
        yield from ("", *_table(("slice", "compared", "differs", "noise"), rows[:SHOWN]))
        if len(parts) > SHOWN:
            yield ink.faint(f"… and {len(parts) - SHOWN} more")
    if report.examples:
        yield from ("", "worst examples, by request id")
        for each in report.examples:
            why = ", ".join(f"{field}: {word}" for field, word in each.fields.items())
            yield f"  {each.request}  {why}" + ("  (the primary differed from itself, too)" if each.noisy else "")
            yield from (f"    {name}: {value}" for name, value in each.payload.items())


def said(report: Report) -> str:
    """What is asked instead of what."""
    place = f"{report.of} on route {report.route}" if report.of and report.route else report.of or f"route {report.route}"
    versions = " → ".join(version or "?" for version in report.versions) if any(report.versions) else "no versions seen yet"
    return f"{report.to} instead of {place}, versions {versions}"


def window(report: Report) -> str:
    """From when to when."""
    return f"{report.began} to {report.last}" if report.began else "nothing compared yet"


def counts(report: Report) -> str:
    """What became of the questions drawn."""
    dropped = {word: count for word, count in report.outcomes.items() if word not in ("compared", "timeout", "error")}
    reasons = f" ({', '.join(f'{word} {count:,}' for word, count in dropped.items())})" if dropped else ""
    return (
        f"{report.drawn:,} drawn ({percent(report.fraction)}), {report.mirrored:,} mirrored, {report.pairs:,} asked twice;"
        f" {report.timeouts:,} timed out, {report.errors:,} failed, {report.dropped:,} not mirrored{reasons}"
    )


def rate(count: int, of: int) -> str:
    """As a share, where there is one."""
    return percent(count / of) if of else "–"


def interval(value: Interval) -> str:
    """`1.2 % [0.8, 2]`."""
    return f"{percent(value.value)} [{100 * value.low:.3g}, {100 * value.high:.3g}]"


def still(field: FieldVerdict) -> str:
    """How many mirrored questions more until a verdict."""
    if field.verdict != "not enough":
        return ""
    return "more than can be waited for" if field.more >= FAR else f"{field.more:,}"


def _row(field: FieldVerdict) -> tuple[str, ...]:
    beyond = interval(field.excess) if field.pairs else "–"
    return field.field, field.verdict, interval(field.raw), interval(field.noise) if field.pairs else "–", beyond, still(field)


def _details(report: Report) -> Iterator[str]:
    for field in report.fields:
        told = [f"{word} {count:,}×" for word, count in sorted(field.whys.items(), key=lambda each: -each[1])[:4]]
        told += [f"{flip} {count:,}×" for flip, count in sorted(field.flips.items(), key=lambda each: -each[1])[:4]]
        told += [f"{name} ≤ {value:.3g}, mean {field.means[name]:.3g}" for name, value in field.largest.items() if value]
        if told:
            yield f"  {field.field}: {'; '.join(told)}"


def _both(what: str, *values: float) -> tuple[str, ...]:
    return tuple((f"{value:,.6g}" if what == "cost" else seconds(value)) if value else "–" for value in values)


def _ratio(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> list[str]:
    every = [tuple(head), *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in every]
