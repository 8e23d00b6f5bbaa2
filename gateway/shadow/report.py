"""What there is to say of a shadow, as one value: for the API, the command, and a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from routing.match import RouteTable
from routing.plan import Target
from routing.shadow.excess import FAR, proven
from routing.shadow.shadows import Shadow
from routing.shadow.tally import Example, Ledger, Pace, Slice, Tally, Times, merged
from routing.shadow.verdict import FieldVerdict, Verdict, judged
from routing.targets import targets

ASKED = ("compared", "timeout", "error")  # of the outcomes of questions drawn: those that were mirrored


class Compared(msgspec.Struct, frozen=True):
    """Of times, or of cost: the primary's, the candidate's, and what the second is of the first; None where there are none."""

    what: str
    primary: float
    candidate: float
    ratio: float | None


class Report(msgspec.Struct, frozen=True):
    """One shadow and the pair of versions that was compared last. Times in seconds, but for moments, which are text."""

    model: str
    shadow: str
    of: str
    to: str
    route: str
    fraction: float
    noise: float
    margin: float
    alpha: float
    versions: tuple[str, str]
    began: str
    last: str
    drawn: int
    mirrored: int
    dropped: int
    timeouts: int
    errors: int
    outcomes: dict[str, int]
    questions: int
    pairs: int
    verdict: str
    more: int
    why: str
    fields: tuple[FieldVerdict, ...]
    slices: dict[str, Slice]
    compared: tuple[Compared, ...]
    examples: tuple[Example, ...]
    promotion: str
    earlier: tuple[tuple[str, str], ...]  # other versions that were compared
    times: dict[str, dict[str, float]]  # quantiles by whose, for plots


def report(model: str, shadow: Shadow, who: tuple[Target, Target | None], ledger: Ledger | None) -> Report:
    """`who`: the candidate and, where it is one variant, whose place it would take."""
    ledger = ledger if ledger is not None and ledger.epoch == shadow.epoch else Ledger(shadow.epoch)
    tally = ledger.tallies[-1] if ledger.tallies else Tally(("", ""), 0.0, 0.0)
    found = judged(tally, shadow.alpha, shadow.margin, shadow.noise)
    outcomes, mirrored = ledger.outcomes, sum(ledger.outcomes.get(word, 0) for word in ASKED)
    compared = tuple(_compared(tally))
    return Report(
        *(model, shadow.name, shadow.of, shadow.to, shadow.route, shadow.fraction, shadow.noise, shadow.margin, shadow.alpha),
        versions=tally.versions,
        began=_moment(tally.began),
        last=_moment(tally.last),
        drawn=sum(outcomes.values()),
        mirrored=mirrored,
        dropped=sum(outcomes.values()) - mirrored,
        timeouts=outcomes.get("timeout", 0),
        errors=outcomes.get("error", 0),
        outcomes=dict(sorted(outcomes.items())),
        questions=tally.questions,
        pairs=tally.pairs,
        verdict=found.verdict,
        more=found.more,
        why=_why(found, tally, shadow),
        fields=found.fields,
        slices=dict(sorted(tally.slices.items(), key=lambda each: -each[1].compared)),
        compared=compared,
        examples=tuple(tally.examples),
        promotion=_promotion(who, found, compared, _pace(tally.pace, shadow.alpha)),
        earlier=tuple(each.versions for each in ledger.tallies[:-1]),
        times={name: _quantiles(getattr(tally, name)) for name in ("primary", "candidate", "again")},
    )


class Seen(msgspec.Struct, frozen=True):
    """What one process has counted of one shadow, on its way to whoever adds up."""

    model: str
    shadow: str
    ledger: Ledger


def reports(tables: Mapping[str, RouteTable], told: Iterable[Seen]) -> list[Report]:
    """Of every shadow of a policy, in its order. `told` by any number of processes."""
    parts: dict[tuple[str, str], list[Ledger]] = {}
    for each in told:
        parts.setdefault((each.model, each.shadow), []).append(each.ledger)
    ledgers = {key: merged(several) for key, several in parts.items()}
    found = []
    for name, table in tables.items():
        known = {target.variant: target for target in targets(table)}
        for shadow, target in table.shadows:
            found.append(report(name, shadow, (target, known.get(shadow.of)), ledgers.get((name, shadow.name))))
    return found


def _why(found: Verdict, tally: Tally, shadow: Shadow) -> str:
    """The verdict in a sentence, with its numbers."""
    if not tally.pairs:
        return "no question has been answered by both yet"
    if found.verdict == "different":
        named = [each for each in found.fields if each.verdict == "different"]
        worst = named[0]
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        noise = f"the primary from itself in {percent(worst.noise.value)} ({worst.pairs:,} pairs)"
        return f"{worst.field} differs in {percent(worst.raw.value)} of the questions, {noise}{more}"
    if found.verdict == "same":
        return f"no field differs beyond the primary's noise in more than {percent(shadow.margin)} of the questions"
    open_ = [each.field for each in found.fields if each.verdict == "not enough"]
    wait = "" if found.more >= FAR else f"; about {found.more:,} more mirrored questions would tell"
    return f"{len(open_)} of {len(found.fields)} fields undecided after {tally.pairs:,} pairs{wait}"


def _promotion(who: tuple[Target, Target | None], found: Verdict, compared: tuple[Compared, ...], pace: str) -> str:
    """What would be otherwise if the candidate took the place; nothing that noise may be."""
    candidate, original = who
    changes = [each for each in found.fields if each.verdict == "different"]
    said = [
        f"{each.field} is otherwise in about {percent(max(0.0, each.excess.value))} more of the answers than now by noise"
        for each in changes[:3]
    ]
    if original is not None and original.cost != candidate.cost:
        said.append(f"a row costs {candidate.cost:g}, not {original.cost:g}")
    if pace:
        times = (f"{each.what} {seconds(each.primary)} → {seconds(each.candidate)}" for each in compared if each.what != "cost")
        said.append(f"answers {pace}: {', '.join(times)}")
    return "; ".join(said) or "nothing that was seen here"


def _pace(pace: Pace, alpha: float) -> str:
    """Whether the candidate is slower or faster, in a few words; "" where chance would do. Wrongly so with a probability of at
    most alpha, whenever one looks: of four coins (routing/shadow/excess.py)."""
    ways = (("later", pace.later, pace.sooner), ("sooner", pace.sooner, pace.later))
    tails = (("later", pace.much_later, pace.much_sooner), ("sooner", pace.much_sooner, pace.much_later))
    found = {word for word, more, less in (*ways, *tails) if proven(more, less, alpha / 4)}
    if found == {"later", "sooner"}:
        return "come sooner as a rule and much later at times" if pace.sooner > pace.later else "come later as a rule"
    return f"come {found.pop()}" if found else ""


def _compared(tally: Tally) -> list[Compared]:
    """The candidate's times against the primary's second answers, which were asked at the same time; else its first."""
    primary = tally.again if tally.again.count else tally.primary
    quantiles = [(f"p{share * 100:g}", primary.quantile(share), tally.candidate.quantile(share)) for share in (0.5, 0.95, 0.99)]
    cost = ("cost", tally.costs[0], tally.costs[1])
    return [Compared(what, one, other, other / one if one and other else None) for what, one, other in (*quantiles, cost)]


def _quantiles(times: Times) -> dict[str, float]:
    return {f"{share:g}": times.quantile(share) for share in (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)} if times.count else {}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds else ""


def percent(share: float) -> str:
    """`1.2 %`, `0.03 %`, `100 %`."""
    return f"{100 * share:.3g} %"


def seconds(value: float) -> str:
    """`3.2 ms`, `1.4 s`."""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
