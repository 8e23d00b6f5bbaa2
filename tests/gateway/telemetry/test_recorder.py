"""What the recorder draws, what a sample then says of a request, and what it never says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest
from gateway.configuration.schema_gateway import Samples
from gateway.dataplane import Inquiry
from gateway.snapshot import Model, Snapshot
from gateway.telemetry.record import Drawn, RequestRecord
from gateway.telemetry.recorder import MAX_ROWS, Recorder, warn_unrecorded
from gateway.telemetry.sample import Ask, PlannedStage, Sample, pseudonym
from policies.call import Asked, Call
from routing.match import Match, Question, Range, Route, RouteTable, Split, Use
from routing.plan import Confidence, Plan, Stage, Target
from routing.planner import planner
from routing.principal import Principal
from routing.sampling import sampling
from routing.split import place

SALT = bytes(range(16))
FAST, DEAR = Target("fast", "triton", "m_fast", "1", 1.0), Target("dear", "triton", "m_dear", cost=40.0)
TABLE = RouteTable(
    "digits",
    (
        Route("gold", Match(headers=(("x-kind", "gold"),), parameters=(("deep", True),), size=Range(0)), Use(DEAR), 1.0),
        Route("default", Match(), Split(((FAST, 3.0), (DEAR, 1.0)), "tenant"), 1.0, sample=0.25),
    ),
)
WHO = Principal("ann", "acme", "free", frozenset({"models:infer", "b"}))
Finished = Callable[..., RequestRecord]


class Taken:
    """Keeps lines."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, line: bytes) -> None:
        self.lines.append(line)

    async def close(self) -> None:
        self.lines.append(b"closed")


def question(**more: Any) -> Question:
    """A question with more in its headers and parameters than the routes look at."""
    headers = {"x-kind": "secret-kind", "cookie": "secret-cookie"}
    given = {"headers": headers, "parameters": {"deep": "secret-depth", "other": "secret-other"}, **more}
    return Question(WHO, rows=2, version="", request_id="r-1", size=64, **given)


def drawn(**changes: Any) -> Drawn:
    """One that was answered by the default route."""
    each = sampling(TABLE)
    assert each is not None
    plan = Plan("default", (Stage(FAST),), 1.0, sample=0.25)
    return msgspec.structs.replace(Drawn("v1", each, question(), "digits", plan, 0.25), **changes)


def sampled(found: Drawn, record: RequestRecord) -> Sample:
    """The line as read again."""
    taken = Taken()
    Recorder(taken, SALT, lambda: 1_700_000_000.12345).take(found, record)
    return msgspec.json.decode(taken.lines[0], type=Sample)


def test_a_sample_says_what_the_policy_looked_at_and_what_came_of_it(finished: Finished) -> None:
    """Names and texts as pseudonyms, places on a split's lines, asks, cost and times; no header that nobody looks at."""
    found = sampled(drawn(), finished(seconds=0.005, backend_seconds=0.004, shares=(("fast", 2),), cost=2.0))
    assert (1, 1_700_000_000.123, "r-1", SALT.hex(), "v1", 0.25) == (
        found.sample,
        found.time,
        found.request_id,
        found.salt,
        found.policy,
        found.share,
    )
    assert (pseudonym(SALT, "acme"), pseudonym(SALT, "ann"), "free", ("b", "models:infer")) == (
        found.tenant,
        found.subject,
        found.tier,
        found.scopes,
    )
    assert {"x-kind": pseudonym(SALT, "secret-kind")} == found.headers
    assert {"deep": pseudonym(SALT, "secret-depth")} == found.parameters
    assert {"default tenant": {side: place(f"digits/default/{side}", "acme") for side in ("fast", "dear")}} == found.places
    assert (2, 64, ("bytes",), None) == (found.rows, found.bytes, found.looked, found.priority)
    assert ("default", (PlannedStage("fast", "triton/m_fast/1"),), (Ask("fast", 2, 4.0),)) == (
        found.route,
        found.stages,
        found.asks,
    )
    assert ({"fast": 2}, 2.0, 4.0, 5.0, "200") == (found.shares, found.cost, found.backend_ms, found.ms, found.code)


def test_nothing_of_payload_or_names_is_in_the_line(finished: Finished) -> None:
    """Neither what the client wrote, nor who it is, nor where it came from."""
    taken = Taken()
    Recorder(taken, SALT).take(drawn(), finished())
    text = taken.lines[0]
    assert text.endswith(b"\n")
    assert [] == [word for word in (b"secret", b"acme", b"ann", b"127.0.0.1", b"/v2", b"cookie") if word in text]


def test_absent_is_told_from_not_looked_at(finished: Finished) -> None:
    """What the policy looked at and the request did not have is null; values that are no text stay as they are."""
    found = sampled(drawn(question=question(headers={}, parameters={"deep": True})), finished())
    assert ({"x-kind": None}, {"deep": True}) == (found.headers, found.parameters)
    assert {"deep": None} == sampled(drawn(question=question(parameters={})), finished()).parameters


def test_a_cascade_says_how_sure_each_stage_was(finished: Finished) -> None:
    """Each ask with its rows, its time and its confidences; of very many rows they are left out."""
    plan = Plan("c", (Stage(FAST, 0.9), Stage(DEAR)), 1.0, Confidence("p", "margin"), sample=1.0)
    scores = np.array([0.95, 0.5, 0.25])
    asks = (Asked("fast", 3, 0.002, scores), Asked("dear", 2, 0.01, None))
    found = sampled(drawn(plan=plan, asks=asks), finished(escalation="fast→dear"))
    assert (PlannedStage("fast", "triton/m_fast/1", 0.9), PlannedStage("dear", "triton/m_dear/")) == found.stages
    assert (Ask("fast", 3, 2.0, (950_000, 500_000, 250_000)), Ask("dear", 2, 10.0)) == found.asks
    assert (("p", "margin"), "fast→dear") == (found.confidence, found.escalation)
    many = (Asked("fast", MAX_ROWS + 1, 0.002, np.zeros(MAX_ROWS + 1)),)
    assert (Ask("fast", MAX_ROWS + 1, 2.0),) == sampled(drawn(plan=plan, asks=many), finished()).asks


def test_lone_surrogates_and_giants_are_left_out(finished: Finished, caplog: pytest.LogCaptureFixture) -> None:
    """A request that cannot be written as a line costs that line, and a word in the log."""
    taken = Taken()
    recorder = Recorder(taken, SALT)
    recorder.take(drawn(question=msgspec.structs.replace(question(), version="\ud800")), finished())
    recorder.take(drawn(question=msgspec.structs.replace(question(), version="9" * 70_000)), finished())
    assert [] == taken.lines
    assert 1 == len(caplog.records)


class Chance:
    """Numbers as given."""

    def __init__(self, *numbers: float) -> None:
        self._numbers = list(numbers)

    def __call__(self) -> float:
        return self._numbers.pop(0)


def snapshot(table: RouteTable = TABLE) -> Snapshot:
    """A policy of one model."""
    made = Model("digits", planner(table), None, None, (FAST, DEAR), sampling=sampling(table))  # type: ignore[arg-type]
    return Snapshot("v1", {"digits": made}, {}, {}, {"numbers": "digits"})


def test_a_share_of_requests_is_drawn(make_request: Callable[..., InferenceRequest]) -> None:
    """As many as the route says; with the name that the client used."""
    plan = Plan("default", (Stage(FAST),), 1.0, sample=0.25)
    call = Call("digits", make_request(model="numbers"), WHO, plan, Deadline(1.0), question=question())
    recorder = Recorder(Taken(), SALT, chance=Chance(0.24, 0.25))
    found = recorder.planned(snapshot(), call)
    assert found is not None
    assert ("v1", "numbers", 0.25, plan) == (found.policy, found.asked, found.share, found.plan)
    assert recorder.planned(snapshot(), call) is None


def test_refusals_by_the_policy_are_drawn_too(make_request: Callable[..., InferenceRequest]) -> None:
    """By the largest share of the model's routes; not those that no policy would let pass."""
    request, inquiry = make_request(), Inquiry(WHO, {}, "r-1", 0.0, None)
    error = InferenceError(ErrorKind.NOT_FOUND, "no", reason="version")
    recorder = Recorder(Taken(), SALT, chance=lambda: 0.2)
    found = recorder.refused(snapshot(), request, inquiry, error, False)
    assert found is not None
    assert (None, 0.25) == (found.plan, found.share)
    assert None is recorder.refused(snapshot(), request, inquiry, InferenceError(ErrorKind.FORBIDDEN, "no"), False)
    assert None is recorder.refused(snapshot(), make_request(model="nobody"), inquiry, error, False)
    unsampled = RouteTable("digits", (Route("default", Match(), Use(FAST), 1.0),))
    assert None is recorder.refused(snapshot(unsampled), request, inquiry, error, False)
    assert None is Recorder(Taken(), SALT, chance=lambda: 0.3).refused(snapshot(), request, inquiry, error, False)


def test_who_samples_without_a_place_for_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Which route it is; nothing where no route is sampled, or where samples go somewhere."""
    unsampled = RouteTable("letters", (Route("default", Match(), Use(FAST), 1.0),))
    warn_unrecorded(Samples("samples.jsonl"), {"digits": TABLE})
    warn_unrecorded(None, {"letters": unsampled})
    assert [] == caplog.messages
    warn_unrecorded(None, {"letters": unsampled, "digits": TABLE, "more": TABLE})
    assert ["routes say 'sample' ('digits': default and 1 more) and nothing is recorded: telemetry.samples is null"] == (
        caplog.messages
    )


async def test_closing_closes_the_lines() -> None:
    """What is left is written at the end."""
    taken = Taken()
    await Recorder(taken, SALT).close()
    assert [b"closed"] == taken.lines
