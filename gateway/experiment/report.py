"""What there is to say of an A/B test, for the API, the command line and a console."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from gateway.experiment.counts import Counts, Sums, together
from gateway.rollout.words import Key, Order
from routing.rollout.comparison import Compared, Comparison, Sides, compared
from routing.rollout.rolling import Rolling

NARROWEST = 10_000.0  # units after which an interval is the narrowest, where the policy's step does not say how many it wants


class Report(msgspec.Struct, frozen=True):
    """One rollout of which clients tell something. `state` is the rollout's; `weight` and `drawn` (units of the stable side and
    of the candidate) are of what is compared, `since` when that began; `full`: units beyond those remembered do not count;
    `gateways`: of how many it is; sticky units, which come to several, are only those of this one."""

    model: str
    rollout: str  # the stable variant
    candidate: str
    attempt: str
    state: str
    unit: str
    weight: float
    alpha: float
    since: str
    drawn: tuple[int, int]
    full: bool
    gateways: int
    metrics: tuple[Compared, ...]


def report(key: Key, rolling: Rolling, order: Order | None, counts: Counts | None, others: Sequence[Sums] = ()) -> Report:
    """`counts` is None where no unit was ever drawn; `others`: what other gateways have come to."""
    standing = None if counts is None else counts.standing
    weight = standing.weight if standing is not None else rolling.terms.steps[0].weight
    sums = Sums((0, 0), {}, ()) if counts is None else together([counts.sums(), *others])
    wanted = next((step.samples for step in rolling.terms.steps if step.weight == weight), 0)
    comparison = Comparison(weight, rolling.terms.alpha, wanted / weight if wanted else NARROWEST, sums.drawn)
    since = "" if standing is None else datetime.fromtimestamp(standing.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Report(
        *key,
        candidate=rolling.candidate.variant,
        attempt=standing.attempt if standing is not None else "",
        state=order.state if order is not None else "",
        unit=rolling.unit,
        weight=weight,
        alpha=rolling.terms.alpha,
        since=since,
        drawn=sums.drawn,
        full=counts is not None and counts.full,
        gateways=1 + len(others),
        metrics=tuple(compared(each, sums.sides.get(each.metric, Sides()), comparison) for each in rolling.feedback),
    )
