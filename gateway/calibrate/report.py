"""What there is to say of thresholds, certified or not, as one value: for scripts, the terminal, and a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from gateway.calibrate.rows import Rows, Told
from gateway.calibrate.stages import Stages
from gateway.page import Table
from gateway.review.words import share
from routing.cascade.calibration import Knots
from routing.cascade.certify import Certified, Point

ASSUMPTION = (
    "this holds for traffic like these rows: drawn by chance from the same questions, each row on its own, same model versions"
)
_TOLD = {
    "truth": "the right answers are known",
    "correct": "who was right is known",
    "dearest": "the dearest model's answers count as right, a stricter wish than its quality: its mistakes are to be kept, too",
}


class Asked(msgspec.Struct, frozen=True):
    """One stage: what a row costs, how often it is right by itself, and in the certified cascade the share of rows it answers."""

    stage: str
    cost: float
    quality: float
    accept: float | None = None  # calibrated; of the last stage, and of one that is left out, none
    answers: float | None = None


class Candidate(msgspec.Struct, frozen=True):
    """Thresholds that were tried (None: that stage is left out): cost and quality on the rows that certify, relative to always
    asking the dearest. `p` None: not tested, since one before it failed; `lower` None: not looked for."""

    cuts: tuple[float | None, ...]
    cost: float
    quality: float
    lower: float | None
    shares: tuple[float, ...]
    p: float | None
    certified: bool


class Report(msgspec.Struct, frozen=True):
    """`certified` None: nothing could be promised, and `why` says for what reason. Shares are 0 to 1; costs relative to always
    asking the dearest, but for those of `stages`, which are of one row."""

    files: tuple[str, ...]
    rows: int
    told: Told
    stages: tuple[Asked, ...]
    keep: float
    confidence: float
    anytime: int | None
    seed: int
    fit_rows: int
    certify_rows: int
    certified: Candidate | None
    why: str
    saves: float
    curve: tuple[Candidate, ...]
    more: tuple[tuple[int, float], ...]  # labels in all → the relative cost that is expected with so many
    maps: Mapping[str, Mapping[str, Knots]]  # by stage and predicted label
    notes: tuple[str, ...]
    assumption: str = ASSUMPTION


class Chosen(msgspec.Struct, frozen=True):
    """How it was asked for. `anytime`: how many rows fit, where the result may be read again and again."""

    files: tuple[str, ...]
    seed: int
    anytime: int | None


def report(found: Certified, rows: Rows, stages: Stages, how: Chosen, bound: Callable[[int], bool] = lambda _: False) -> Report:
    """All of it. `bound`: of which candidates, by their places, a bound of the quality is looked for; each may take a second."""
    point, names = found.chosen, tuple(stages.cost)
    quality = rows.right.mean(axis=0)
    asked = tuple(
        Asked(
            name,
            stages.cost[name],
            float(quality[index]),
            point.cuts[index] if point is not None and index < len(names) - 1 else None,
            point.shares[index] if point is not None else None,
        )
        for index, name in enumerate(names)
    )
    return Report(
        files=how.files,
        rows=len(rows.right),
        told=rows.told,
        stages=asked,
        keep=found.promise.quality,
        confidence=1 - found.promise.delta,
        anytime=how.anytime,
        seed=how.seed,
        fit_rows=found.fit_rows,
        certify_rows=found.certify_rows,
        certified=None if point is None else _candidate(point, True),
        why=found.why,
        saves=1 - point.cost if point is not None else 0.0,
        curve=tuple(_candidate(each, each.p is not None and bound(place)) for place, each in enumerate(found.curve)),
        more=found.more,
        maps={name: dict(each.maps) for name, each in zip(names, found.calibrations, strict=False)},
        notes=tuple(_notes(rows, asked)),
    )


def _candidate(point: Point, bound: bool) -> Candidate:
    lower = point.lower if bound else None
    return Candidate(point.cuts, point.cost, point.quality, lower, point.shares, point.p, point.certified)


def _notes(rows: Rows, asked: Sequence[Asked]) -> list[str]:
    notes = [_TOLD[rows.told]] if rows.told == "dearest" else []
    *cheap, dearest = asked
    for index, each in enumerate(cheap):
        unsure = int(np.isnan(rows.score[:, index]).sum())
        if unsure:
            notes.append(f"{unsure:,} rows have no confidence of {each.stage}: they always go up")
        if each.quality > dearest.quality:
            notes.append(
                f"{each.stage} is right more often than {dearest.stage} ({share(each.quality)}, {share(dearest.quality)}): "
                "the dearest is not the best here"
            )
        if each.answers is not None and each.accept is None:
            notes.append(f"{each.stage} is worth nothing between the others: the patch leaves it out")
    if rows.questions and rows.questions < len(rows.right):
        notes.append(
            f"the {len(rows.right):,} rows are from {rows.questions:,} requests; rows of one request may be alike, "
            "and then there are fewer of them than it seems"
        )
    if rows.mixed:
        notes.append(
            f"the rows are of several versions of {', '.join(rows.mixed)}: the promise is for such a mixture, not for one version"
        )
    if rows.partial:
        notes.append(f"{rows.partial:,} recorded rows are left out: not all stages have answered them")
    return notes


def headline(found: Report) -> str:
    """What came out, in a line."""
    point = found.certified
    if point is None:
        return f"ask {found.stages[-1].stage} directly: {found.why}"
    cuts = ", ".join(f"{each.stage} {each.accept:.4g}" for each in found.stages if each.accept is not None)
    return f"accept {cuts}: {share(point.cost)} of the cost of always asking {found.stages[-1].stage}, saves {share(found.saves)}"


def facts(found: Report) -> list[tuple[str, str]]:
    """Names and sentences."""
    point, last, told = found.certified, found.stages[-1].stage, _TOLD[found.told].partition(",")[0]
    made = [
        (
            "rows",
            f"{found.rows:,}, {found.fit_rows:,} to fit and {found.certify_rows:,} to certify; {told}",
        ),
        (
            "promise",
            f"at least {share(found.keep)} of {last}'s quality, with {share(found.confidence)} confidence{_reading(found)}",
        ),
    ]
    if point is not None:
        least = "" if point.lower is None else f"; at least {share(point.lower)}"
        made.append(("quality", f"{share(point.quality)} of {last}'s on the rows it was certified on{least}"))
        made.append(("tested", found.why))
    if found.more:
        made.append(
            ("more labels", "; ".join(f"{labels:,} rows in all: saves about {share(1 - cost)}" for labels, cost in found.more))
        )
    return [*made, ("assumption", found.assumption)]


def _reading(found: Report) -> str:
    return ", read after every new row" if found.anytime is not None else ""


def table(found: Report) -> Table:
    """The stages, and at the end the cascade of them, beside always asking one of them alone."""
    dearest = found.stages[-1]
    rows = [
        (
            each.stage,
            f"{each.cost:g}",
            share(each.quality),
            share(each.cost / dearest.cost),
            "–" if each.accept is None else f"{each.accept:.4g}",
            "–" if each.answers is None else share(each.answers),
        )
        for each in found.stages
    ]
    if found.certified is not None:
        quality = share(found.certified.quality * dearest.quality)
        rows.append(("cascade", f"{found.certified.cost * dearest.cost:.4g}", quality, share(found.certified.cost), "", ""))
    return ("always", "cost of a row", "right", "of the dearest's cost", "accept", "rows it answers in the cascade"), rows
