"""Measures each stage of a request on its own, in this process and without sockets: where the microseconds go."""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.http1.connection import Connection
from backends.http1.messages import PoolLimits, UpstreamRequest, framed
from backends.inference import Backend, InferenceRequest, InferenceResponse
from backends.promise import Promise
from backends.protocols.v2_http_request import decode_request, encode_request
from backends.protocols.v2_http_response import decode_response, encode_response
from gateway.auth.api_keys import ApiKeys
from gateway.auth.authenticator import Authenticator, build
from gateway.auth.settings import AuthSettings, JwtIssuer
from gateway.compile import blueprint, compile_snapshot
from gateway.dataplane import Dataplane, Inquiry
from gateway.edge.head import read_head
from gateway.edge.limits import Limits
from gateway.edge.messages import HttpResponse, RequestHead
from gateway.fronts.http import HttpFront
from gateway.fronts.parts import FrontParts
from gateway.telemetry import access_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.record import RequestRecord
from loadtest import credentials, results, traffic
from loadtest.backend import write_configuration
from loadtest.penstock import COMMAND
from loadtest.processes import StartError
from loadtest.unplugged import Unplugged, Wire, message
from policies.call import Call

SLICE_SECONDS = 0.02  # of one repetition: short enough that some are not interrupted, long enough for the clock
FIRST_TIMES = 20  # tokens never seen before, in each repetition


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of the table: `step` once is one request's share of it.

    `times`: how many steps there are to a repetition, for those that cannot be repeated at will (0: as many as fit).
    """

    name: str
    does: str
    step: Callable[[], object]
    times: int = 0


class Fixed:
    """A backend that has the answer already."""

    def __init__(self, response: InferenceResponse) -> None:
        self._response = response

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        """The same each time."""
        return self._response


class Bench:
    """What the stages work on: the measured policy's snapshot, credentials, and one request in each of its forms."""

    def __init__(self, policy: bytes, authenticator: Authenticator, keys: ApiKeys, shown: dict[str, credentials.Headers]) -> None:
        self.asked_at_once: Callable[[], object]
        self.metrics = Metrics()
        self.snapshot = compile_snapshot(blueprint(policy, "policy.yaml"), None, self.metrics, time.monotonic)
        self.plane = Dataplane(self.snapshot, {})
        self.authenticator = authenticator
        self.asked, self.told = traffic.question("1k"), traffic.answers()["digits_1k"]
        self.length = dict(self.told.headers)[traffic.LENGTH_HEADER]
        self.ask_of(Fixed(self.response()))  # type: ignore[arg-type]
        self.keys, self.shown = keys, shown
        self.tokens: list[dict[str, str]] = []
        self.headers = {"host": "bench", **_lower(self.asked.message.headers), **_lower(shown["key"])}
        self.record: RequestRecord
        ids = itertools.count()
        parts = FrontParts(self.plane, authenticator, self._record, lambda: f"bench-{next(ids):x}", lambda: True, 1 << 26)
        self.front = HttpFront(parts)

    def ask_of(self, backend: Backend) -> None:
        """Whom the front asks from now on, whatever the model."""
        for cluster in self.snapshot.clusters.values():
            for endpoint in cluster.endpoints:
                endpoint.backend = backend

    def _record(self, record: RequestRecord) -> None:
        self.metrics.requested(record)
        self.record = record

    def block(self) -> bytes:
        """The request's head as it comes over the wire."""
        return self.wire()[: -len(self.asked.message.body)]

    def wire(self) -> bytes:
        """The whole request so."""
        return message(f"POST {self.asked.path} HTTP/1.1", tuple(self.headers.items()), self.asked.message.body)

    def request(self) -> InferenceRequest:
        """The body read."""
        return decode_request(self.asked.message.body, dict(self.asked.message.headers)[traffic.LENGTH_HEADER], "digits_1k", "")

    def response(self) -> InferenceResponse:
        """The backend's answer read."""
        return decode_response(self.told.body, self.length, "fixed", verbatim=True)

    def call(self) -> Call:
        """The request planned."""
        principal = self.authenticator.check(_lower(self.shown["key"]), time.time())
        inquiry = Inquiry(principal, self.headers, "bench-0", time.monotonic(), None)
        return self.plane.plan(self.snapshot, self.request(), inquiry)

    async def whole(self) -> HttpResponse:
        """Everything between the edge's head and its answer."""
        admitted = self.front.admit(RequestHead("POST", self.asked.path, "", self.headers, "127.0.0.1", time.monotonic()))
        assert not isinstance(admitted, HttpResponse), admitted
        answer = admitted(self.asked.message.body)
        return answer if isinstance(answer, HttpResponse) else await answer

    def answer(self) -> bytes:
        """The backend's answer as it comes over the wire."""
        return message("HTTP/1.1 200 OK", self.told.headers, self.told.body)

    def answering(self) -> Callable[[], object]:
        """One answer read by one connection to a backend."""
        wire = self.answer()
        connection = Connection(PoolLimits(), "fixed", {}, lambda _: None)
        connection.connection_made(Wire())
        loop = asyncio.get_running_loop()

        def step() -> None:
            connection.send([b""], Promise(loop), head_only=False)
            connection.data_received(wire)

        return step


def stages(bench: Bench) -> list[Stage]:
    """Every stage, in the order of a request; none waits for anything."""
    block, limits, request, plane = bench.block(), Limits(), bench.request(), bench.plane
    call = replace(bench.call(), deadline=Deadline(time.monotonic() + 3600))
    text, response, check = traffic.question("json").message.body, bench.response(), bench.authenticator.check
    inquiry = Inquiry(call.principal, bench.headers, "bench-0", time.monotonic(), None)
    record, key, tokens = bench.record, dict(bench.shown["key"])["X-API-Key"], iter(bench.tokens)
    asked = UpstreamRequest("POST", bench.asked.path, bench.asked.message.headers, encode_request(request).parts)
    known = {kind: _lower(headers) for kind, headers in bench.shown.items()}
    return [
        Stage("gate", "a head not seen before: parsed, every rule applied", lambda: read_head(block, limits, "127.0.0.1", 0.0)),
        Stage("auth: API key", "seen before", lambda: check(known["key"], time.time())),
        Stage("auth: API key, first", "its hash compared", lambda: bench.keys.verify(key, 1.0)),
        Stage("auth: RS256 token", "seen before", lambda: check(known["jwt"], time.time())),
        Stage("auth: RS256 token, first", "signature and claims", lambda: check(next(tokens), time.time()), FIRST_TIMES),
        Stage("decode", "1 KB of tensor in binary", bench.request),
        Stage("decode: JSON", "about 1 KB of text, to a binary tensor", lambda: decode_request(text, None, "digits_json", "")),
        Stage("match and plan", "two routes that miss, one that holds", lambda: plane.plan(bench.snapshot, request, inquiry)),
        Stage("onion", "every layer and the cluster, the backend instant", lambda: finished(plane.ask(bench.snapshot, call))),
        Stage("pool: ask", "one request framed", lambda: framed(asked, "127.0.0.1:8000")),
        Stage("pool: answer", "one answer read from the wire", bench.answering()),
        Stage("answer", "its names, shapes and lengths", bench.response),
        Stage("encode", "the answer under its public name", lambda: encode_response(response, request)),
        Stage("metrics", "one request's record", lambda: bench.metrics.requested(record)),
        Stage("access log", "one line", lambda: access_log.encode(record, 1.0)),
        Stage("asked at once", "all of a request whose head came before, gate and pool included", bench.asked_at_once),
        Stage("front", "head to answer: all of these but gate, pool, access log", lambda: finished(bench.whole())),
    ]


def finished(work: Awaitable[object]) -> None:
    """Run what waits for nothing to its end, without a turn of the loop."""
    try:
        next(work.__await__())
    except StopIteration:
        return
    raise AssertionError("it waited for something")


def best(stage: Stage, repetitions: int) -> float:
    """Microseconds a step, in the quickest repetition: what disturbs can only add."""
    step, clock = stage.step, time.perf_counter
    times = stage.times
    if not times:
        until = clock() + SLICE_SECONDS
        while clock() < until:
            step()
            times += 1
    lowest = float("inf")
    for _ in range(repetitions):
        began = clock()
        for _ in itertools.repeat(None, times):
            step()
        lowest = min(lowest, clock() - began)
    return lowest / times * 1e6


def table(found: Sequence[tuple[Stage, float]]) -> str:
    """As people read it."""
    return results.columns([("stage", "", "µs", ""), *((stage.name, "", f"{took:.2f}", stage.does) for stage, took in found)])


async def prepare(folder: Path, tokens: int) -> Bench:
    """The policy, the key and the tokens that the comparison uses, too. Raises StartError."""
    policy = write_configuration("policy.yaml", folder, {"backend_port": 1, "accept": traffic.ACCEPT})
    keys, jwks = folder / "api-keys.yaml", folder / "jwks.json"
    key, shown = credentials.api_key(COMMAND, keys), credentials.bearers(jwks, tokens + 1)
    issuer = JwtIssuer(credentials.ISSUER, credentials.AUDIENCE, str(jwks), ("RS256",))
    settings = AuthSettings((issuer,), api_keys=keys)
    authenticator = await build(settings, lambda work, _: work.close())
    known, unplugged = {"key": key, "jwt": shown[0]}, Unplugged()
    bench, other = (Bench(policy.read_bytes(), authenticator, ApiKeys(keys), known) for _ in range(2))
    other.ask_of(unplugged.backend)
    bench.asked_at_once = await unplugged.known(other.front, bench.wire(), bench.answer())
    bench.tokens = [_lower(each) for each in shown[1:]]
    await bench.whole()
    return bench


def _lower(headers: credentials.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


async def run(folder: Path, repetitions: int) -> list[tuple[Stage, float]]:
    """Every stage measured. Raises StartError."""
    bench = await prepare(folder, FIRST_TIMES * repetitions)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        return [(stage, best(stage, repetitions)) for stage in stages(bench)]
    finally:
        gc.enable()


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured; 2: the credentials could not be made."""
    parser = argparse.ArgumentParser("loadtest.stages", description=__doc__, epilog="example: python -m loadtest.stages")
    parser.add_argument("--repetitions", type=int, default=25, help="the quickest counts (default 25)")
    parser.add_argument("--output", type=Path, help="JSON file to keep it in")
    options = parser.parse_args(arguments)
    if options.repetitions < 1:
        parser.error("--repetitions is at least 1")
    with tempfile.TemporaryDirectory(prefix="penstock-stages-") as folder:
        try:
            found = uvloop.run(run(Path(folder), options.repetitions))
        except StartError as reason:
            print(f"nothing measured: {reason}", file=sys.stderr)
            return 2
    print(table(found))
    if options.output:
        results.keep({"stages": [{"stage": stage.name, "does": stage.does, "us": took} for stage, took in found]}, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
