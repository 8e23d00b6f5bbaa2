"""Records samples of requests: draws them by their route's share and writes what came of them, a line each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import random
from typing import Protocol

import msgspec

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, Parameter
from gateway.configuration.schema_gateway import Samples
from gateway.dataplane import Inquiry
from gateway.question import looked_at, takes_long
from gateway.snapshot import Snapshot
from gateway.telemetry.lines import Lines
from gateway.telemetry.record import Drawn, RequestRecord
from gateway.telemetry.sample import FORMAT, MAX_LINE, Ask, Sample, confidence_text, hidden, millionths, pseudonym, stages
from gateway.telemetry.sample_file import SampleFile, salt_for
from policies.call import Asked, Call
from routing.match import Question, RouteTable
from routing.sampling import Sampling, places

MAX_ROWS = 256  # of a cascade's ask whose confidences are recorded

_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


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
            prompt={router.key: question.prompts.get(router.name) for router in looks.routers},
            looked=(*(("bytes",) if looks.size else ()), *(("priority",) if looks.priority else ())),
            places=places(sampling, question),
            route=plan.route if plan else "",
            stages=stages(plan) if plan else (),
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


def warn_unrecorded(samples: Samples | None, tables: Mapping[str, RouteTable]) -> None:
    """A line in the log if routes are to be sampled and `samples`, of gateway.yaml, says of no place where to."""
    sampled = [f"'{name}': {route.name}" for name, table in tables.items() for route in table.routes if route.sample]
    if sampled and samples is None:
        others = f" and {len(sampled) - 1} more" if len(sampled) > 1 else ""
        _log.warning("routes say 'sample' (%s%s) and nothing is recorded: telemetry.samples is null", sampled[0], others)


def _asks(drawn: Drawn, record: RequestRecord) -> tuple[Ask, ...]:
    if drawn.asks:
        return tuple(Ask(each.variant, each.rows, round(each.seconds * 1e3, 3), _scores(each)) for each in drawn.asks)
    return tuple(Ask(variant, rows, round(record.backend_seconds * 1e3, 3)) for variant, rows in record.shares)


def _scores(asked: Asked) -> tuple[int, ...] | None:
    if asked.scores is None or asked.scores.size > MAX_ROWS:
        return None
    return millionths(asked.scores)
