"""Recorded requests: what a policy looked at and what came of it, so that another policy can be tried on the same traffic.

No payload is ever recorded: no tensor, no output, no path, address or credential. Who asked, and every text that a client wrote
into a header or parameter, is a pseudonym: a keyed hash whose key, the salt, stands in the same line. Whoever has the file can
find out whether a name they know is in it (a backtest does just that for the names a policy speaks of): this keeps names from
being read, it does not make anybody anonymous.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from random import random
from typing import Annotated, Protocol

import msgspec
import numpy as np

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, Parameter
from gateway.dataplane import Inquiry
from gateway.question import looked_at, takes_long
from gateway.snapshot import Snapshot
from gateway.telemetry.lines import Lines
from gateway.telemetry.record import Drawn, RequestRecord
from gateway.telemetry.sample_file import SampleFile, salt_for
from policies.call import Asked, Call
from routing.confidence import Scores
from routing.match import Question
from routing.plan import Confidence, Plan, Target
from routing.sampling import Sampling, places

FORMAT = 1
MAX_LINE = 64 << 10  # bytes; a longer sample is not recorded
MAX_ROWS = 256  # of a cascade's ask whose confidences are recorded
UNIT = 1_000_000  # confidences are whole millionths, rounded down: thresholds of up to six digits are judged exactly
_LARGEST = 1 << 53

_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One stage of the plan. `target` is `backend/model/version` in the backend's own names."""

    variant: str
    target: str
    accept: float | None = None


class Ask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One ask that was answered: by whom, for how many rows, how long it took, and how sure it was of each, in 1/UNIT."""

    variant: str
    rows: int
    ms: float
    scores: tuple[int, ...] | None = None


class Sample(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line. Headers, parameters and text lengths are those that the policy looked at; null where the request had none."""

    sample: int  # FORMAT
    time: float  # seconds of the epoch
    request_id: str
    salt: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    policy: str
    share: Annotated[float, msgspec.Meta(gt=0, le=1)]  # of such requests that are recorded
    model: str
    code: str
    ms: float
    asked: str = ""  # the alias that the client used
    tenant: str = ""
    subject: str = ""
    tier: str = ""
    scopes: tuple[str, ...] = ()
    version: str = ""
    rows: int | None = None
    bytes: int | None = None
    priority: int | None = None
    headers: Mapping[str, str | None] = {}
    parameters: Mapping[str, Parameter | None] = {}
    text_length: Mapping[str, int | None] = {}
    looked: tuple[str, ...] = ()  # `bytes` and `priority`, where the policy looked at them
    places: Mapping[str, Mapping[str, float]] = {}
    route: str = ""  # "" for a request that the policy refused
    stages: tuple[Step, ...] = ()
    confidence: tuple[str, str] | None = None  # output, metric
    shares: Mapping[str, int] = {}
    cost: float = 0.0
    backend_ms: float = 0.0
    asks: tuple[Ask, ...] = ()
    escalation: str = ""
    reason: str = ""


def pseudonym(salt: bytes, text: str) -> str:
    """`#` and 16 hexadecimal digits that stand for the text under this salt; "" stands for itself."""
    return "#" + blake2b(text.encode("utf-8", "surrogatepass"), key=salt, digest_size=8).hexdigest() if text else ""


def hidden(salt: bytes, value: Parameter) -> Parameter:
    """A parameter's value without what a client may have written into it."""
    return pseudonym(salt, value) if isinstance(value, str) else value


def target_text(target: Target) -> str:
    """Which model answers, whatever the policy calls it."""
    return f"{target.backend}/{target.model}/{target.version}"


def steps(plan: Plan) -> tuple[Step, ...]:
    """The plan's stages as a sample tells them."""
    return tuple(Step(stage.target.variant, target_text(stage.target), stage.accept) for stage in plan.stages)


def confidence_text(confidence: Confidence | None) -> tuple[str, str] | None:
    """What the stages' thresholds are held against."""
    return None if confidence is None else (confidence.output, confidence.metric)


def millionths(scores: Scores) -> tuple[int, ...]:
    """The scores as whole numbers n with n/UNIT <= score < (n+1)/UNIT, in doubles; what is not finite goes to the edge."""
    bounded = np.clip(np.nan_to_num(scores, nan=-math.inf), -_LARGEST / UNIT, _LARGEST / UNIT)
    found = np.floor(bounded * UNIT)
    found += (found + 1) / UNIT <= bounded
    found -= found / UNIT > bounded
    return tuple(found.astype(np.int64).tolist())


class LineTaker(Protocol):
    """Who writes lines without ever making anybody wait."""

    def put(self, line: bytes, /) -> None:
        """Takes one line, newline included."""
        ...

    async def close(self) -> None:
        """Writes what is left, or gives up."""
        ...


class Recorder:
    """Draws requests by their route's share and writes what came of them. `chance` gives numbers from [0, 1)."""

    def __init__(
        self, lines: LineTaker, salt: bytes, clock: Callable[[], float] = time.time, chance: Callable[[], float] = random
    ) -> None:
        self._lines = lines
        self._salt = salt
        self._clock = clock
        self._chance = chance
        self._complained = False

    def planned(self, snapshot: Snapshot, call: Call) -> Drawn | None:
        """The request as it is to be recorded, if its route's share draws it."""
        sampling, question, share = snapshot.models[call.model].sampling, call.question, call.plan.sample
        if sampling is None or question is None or self._chance() >= share:
            return None
        return Drawn(snapshot.version, sampling, question, call.request.model, call.plan, share)

    def refused(
        self, snapshot: Snapshot, request: InferenceRequest, inquiry: Inquiry, error: InferenceError, large: bool
    ) -> Drawn | None:
        """The same of a request that the policy refused.

        What any policy would refuse is not recorded: who may not ask, a model that is not there, a priority that is none, tensors
        that do not hold; nor a `large` one that would have to be walked through once more.
        """
        if error.kind is ErrorKind.FORBIDDEN:
            return None
        try:
            model = snapshot.model(request.model)
            sampling = model.sampling
            if sampling is None or (large and takes_long(model.looks, request)) or self._chance() >= sampling.most:
                return None
            who, said, named = inquiry.principal, inquiry.headers, inquiry.request_id
            question = Question(who, said, request.rows, request.parameters, request.version, named)
            question = looked_at(question, model.looks, request)
        except InferenceError:
            return None
        return Drawn(snapshot.version, sampling, question, request.model, None, sampling.most)

    def take(self, drawn: Drawn, record: RequestRecord) -> None:
        """Writes the sample of a request that has ended. Never raises for what a client sent."""
        try:
            line = _encode(self._sample(drawn, record)) + b"\n"
        except UnicodeEncodeError:  # lone surrogates in what no policy can match either
            line = b""
        if 0 < len(line) <= MAX_LINE:
            self._lines.put(line)
        elif not self._complained:
            self._complained = True
            _log.warning("a request of model '%s' is too large to be recorded as a sample", record.model)

    async def close(self) -> None:
        """Writes what is left, or gives up."""
        await self._lines.close()

    def _sample(self, drawn: Drawn, record: RequestRecord) -> Sample:
        question, sampling, plan, salt = drawn.question, drawn.sampling, drawn.plan, self._salt
        who, looks = question.principal, sampling.looks
        return Sample(
            FORMAT,
            round(self._clock(), 3),
            record.request_id,
            salt.hex(),
            drawn.policy,
            drawn.share,
            sampling.model,
            record.code,
            round(record.seconds * 1e3, 3),
            asked=drawn.asked if drawn.asked != sampling.model else "",
            tenant=pseudonym(salt, who.tenant),
            subject=pseudonym(salt, who.subject),
            tier=who.tier,
            scopes=tuple(sorted(who.scopes)),
            version=question.version,
            rows=question.rows,
            bytes=question.size if looks.size else None,
            priority=question.priority,
            headers=self._headers(sampling, question),
            parameters=self._parameters(sampling, question),
            text_length={name: question.text_lengths.get(name) for name in looks.texts},
            looked=(*(("bytes",) if looks.size else ()), *(("priority",) if looks.priority else ())),
            places=places(sampling, question),
            route=plan.route if plan else "",
            stages=steps(plan) if plan else (),
            confidence=confidence_text(plan.confidence) if plan else None,
            shares=dict(record.shares),
            cost=record.cost,
            backend_ms=round(record.backend_seconds * 1e3, 3),
            asks=_asks(drawn, record),
            escalation=record.escalation if record.escalation != "none" else "",
            reason=record.reason,
        )

    def _headers(self, sampling: Sampling, question: Question) -> dict[str, str | None]:
        given = question.headers
        return {name: pseudonym(self._salt, given[name]) if name in given else None for name in sampling.headers}

    def _parameters(self, sampling: Sampling, question: Question) -> dict[str, Parameter | None]:
        given = question.parameters
        return {name: hidden(self._salt, given[name]) if name in given else None for name in sampling.parameters}


def recorder(path: Path, size: int, keep: int) -> Recorder:
    """One that writes `keep` files of `size` bytes at most, beginning with `path`. Starts a thread."""
    return Recorder(Lines("sample log", SampleFile(path, size, keep)), salt_for(path))


def _asks(drawn: Drawn, record: RequestRecord) -> tuple[Ask, ...]:
    if drawn.asks:
        return tuple(Ask(each.variant, each.rows, round(each.seconds * 1e3, 3), _scores(each)) for each in drawn.asks)
    return tuple(Ask(variant, rows, round(record.backend_seconds * 1e3, 3)) for variant, rows in record.shares)


def _scores(asked: Asked) -> tuple[int, ...] | None:
    if asked.scores is None or asked.scores.size > MAX_ROWS:
        return None
    return millionths(asked.scores)
