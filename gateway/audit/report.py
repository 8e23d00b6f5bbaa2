"""What there is to say of the audit of a cascade, as one value: for the API, the command line, the log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from gateway.shadow.report import percent
from routing.cascade.audits import Audit
from routing.cascade.watch import REACHED, Watch, level, rate, recently
from routing.shadow.excess import Interval

JUDGED = ("same", "different")  # of the outcomes of drawn requests: those that say something


class Standing(msgspec.Struct, frozen=True):
    """One audited cascade as it stands, in a form that can be kept. Moments in seconds since 1970; `alarm` 0: none.

    `seen` counts drawn requests by outcome, `cost` is what the dearest stage was asked for.
    """

    model: str
    route: str
    epoch: str
    began: float
    watch: Watch = Watch()
    alarm: float = 0.0
    seen: Mapping[str, int] = {}
    cost: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """One audited cascade. `state`: watching, alarm, or fallen, when the dearest stage answers alone. Rates are of kept rows that
    the dearest stage answers otherwise, 0 to 1; `recent` since the drift began. `evidence`: the alarm is at 1."""

    model: str
    route: str
    dear: str
    state: str
    share: float
    promised: float
    rate: Interval
    recent: float
    recent_requests: int
    evidence: float
    requests: int
    rows: int
    different: int
    dropped: int
    outcomes: Mapping[str, int]
    cost: float
    began: str
    alarm: str
    text: str
    suggestion: str


def report(standing: Standing, audit: Audit, dear: str) -> Report:
    """`dear`: the variant that the rows are held against."""
    watch, outcomes = standing.watch, standing.seen
    state = "watching" if not standing.alarm else "fallen" if audit.falls else "alarm"
    return Report(
        *(standing.model, standing.route, dear, state, audit.share, audit.most),
        *(rate(watch), recently(watch), watch.recent.requests, level(watch.evidence) / REACHED),
        *(watch.requests, watch.rows, watch.different),
        dropped=sum(count for word, count in outcomes.items() if word not in JUDGED),
        outcomes=dict(sorted(outcomes.items())),
        cost=standing.cost,
        began=_moment(standing.began),
        alarm=_moment(standing.alarm),
        text=_text(watch, audit.most, state),
        suggestion=_suggestion(standing, audit.most, state) if standing.alarm else "",
    )


def _text(watch: Watch, most: float, state: str) -> str:
    if not watch.requests:
        return "no row has been audited yet"
    found = rate(watch)
    said = (
        f"{percent(found.value)} [{100 * found.low:.3g}, {100 * found.high:.3g}] of the kept rows come out otherwise in"
        f" {watch.requests:,} audited requests; promised is {percent(most)} at most"
    )
    if watch.recent.requests and state != "watching":
        said += f"; {percent(recently(watch))} in the last {watch.recent.requests:,}, since things became worse"
    return said + {"watching": "", "alarm": ": the promise is broken", "fallen": ": the dearest stage answers alone"}[state]


def _suggestion(standing: Standing, most: float, state: str) -> str:
    of = f"--model {standing.model} --route {standing.route}"
    again = f"penstock audit resume {standing.model}/{standing.route}"
    back = "the cascade answers again" if state == "fallen" else "the alarm ends"
    return (
        f"penstock calibrate ROWS --policy POLICY {of} --keep {100 * (1 - most):g}%, with rows of now, and what it finds into"
        f" the policy: then {back} by itself; or, if both models are right, {again}"
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if seconds else ""
