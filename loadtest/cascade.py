"""What a cascade costs beyond the backend calls that it makes: `python -m loadtest.cascade`.

CPU time of this process, without sockets: from the head and body of a request to its answer, through the front, the onion, the
cluster and the protocol's codec, for the same 32 rows of 64 floats. By turns: the first model alone, the second alone about the
rows that go up, and the cascade, of which the second's call (cluster, codec) is timed in its place. The overhead is the cascade
less the first alone and that call. The quickest slice of each counts: what disturbs can only add.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.http1.messages import UpstreamRequest, UpstreamResponse
from backends.inference import InferenceRequest, InferenceResponse
from backends.triton_http import TritonHttp
from gateway.auth.authenticator import build
from gateway.auth.settings import AuthSettings
from gateway.compile import blueprint, compile_snapshot
from gateway.dataplane import Dataplane
from gateway.edge.messages import HttpResponse, RequestHead
from gateway.fronts.http import HttpFront
from gateway.fronts.parts import FrontParts
from gateway.telemetry.metrics import Metrics
from loadtest import results, traffic

ROWS = traffic.CASCADE_ROWS
BAR = 60.0  # µs
UP: dict[str, tuple[int, ...]] = {"none": (), "three": traffic.UNSURE_ROWS, "all": tuple(range(ROWS))}
KNOTS = ", ".join(f"[{0.1 + place / 20:g}, {0.1 + place / 20:g}]" for place in range(17))
MAPS = ", ".join(f'"{label}": [{KNOTS}]' for label in range(traffic.CLASSES))
CALIBRATION = f"calibration: {{maps: {{{MAPS}, other: [{KNOTS}]}}}}"
POLICY = """
version: 1
backends: {{fixed: {{protocol: triton-http, endpoints: ["127.0.0.1:1"]}}}}
models:
  first:
    variants: {{fast: {{backend: fixed, model: fast}}}}
    routes: [{{name: default, use: fast}}]
  second:
    variants: {{dear: {{backend: fixed, model: dear}}}}
    routes: [{{name: default, use: dear}}]
  cascade:
    variants: {{fast: {{backend: fixed, model: fast}}, dear: {{backend: fixed, model: dear}}}}
    routes:
      - name: default
        cascade:
          confidence: {{output: probabilities, metric: {metric}}}
          stages: [{{use: fast, accept: 0.9}}, {{use: dear}}]
"""


class Pool:
    """In the place of an HttpPool: whatever is asked of a model is answered at once with bytes made before."""

    def __init__(self, up: Sequence[int]) -> None:
        rows = range(ROWS)
        self._binary = {"fast": traffic.binary_answer("fast", rows, up), "dear": traffic.binary_answer("dear", up)}
        self._json = {"fast": traffic.json_answer("fast", rows), "dear": traffic.json_answer("dear", up)}

    def leave(self, connection: object) -> None:
        """There is none."""

    async def ask(self, request: UpstreamRequest, deadline: Deadline, *, fresh: bool = False) -> UpstreamResponse:
        """In the form that is asked for."""
        model = "fast" if "/fast/" in request.path else "dear"
        form = self._binary if b"binary_data_output" in bytes(request.body[0]) else self._json
        message = form[model]
        return UpstreamResponse(200, {name.lower(): value for name, value in message.headers}, message.body)


@dataclass(frozen=True, slots=True)
class Kind:
    """One line: which form, how sure is told by what, and how many rows go up."""

    form: str
    metric: str
    up: str

    @property
    def name(self) -> str:
        """As it is shown."""
        return f"{self.form}, {self.metric.partition(',')[0]}{', calibrated' if 'maps' in self.metric else ''}, {self.up} up"


KINDS = (
    Kind("binary", "max-softmax", "three"),
    Kind("binary", "max-softmax", "none"),
    Kind("binary", "max-softmax", "all"),
    Kind("binary", "entropy", "three"),
    Kind("binary", f"max-softmax, {CALIBRATION}", "three"),
    Kind("json", "max-softmax", "three"),
)


class Timed:
    """A cluster that adds up how long it is asked for the second model."""

    def __init__(self, cluster: Cluster) -> None:
        self.infer_below = cluster.infer
        self.seconds = 0.0

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        """As the cluster does."""
        if request.model != "dear":
            return await self.infer_below(request, deadline)
        began = time.perf_counter()
        response = await self.infer_below(request, deadline)
        self.seconds += time.perf_counter() - began
        return response


class Bench:
    """One kind, made ready."""

    def __init__(self, kind: Kind, front: HttpFront, timed: Timed) -> None:
        self.timed = timed
        self._front = front
        self._rows = {"first": ROWS, "cascade": ROWS, "second": len(UP[kind.up]) or 1}
        self._binary = kind.form == "binary"

    def message(self, model: str) -> traffic.Message:
        """A question to it."""
        rows = self._rows[model]
        return traffic.binary_request(rows, alike=True) if self._binary else traffic.json_request(rows)

    async def whole(self, model: str, message: traffic.Message) -> HttpResponse:
        """Everything between the edge's head and its answer."""
        headers = {"host": "bench", **{name.lower(): value for name, value in message.headers}}
        admitted = self._front.admit(RequestHead("POST", f"/v2/models/{model}/infer", "", headers, "127.0.0.1", time.monotonic()))
        assert not isinstance(admitted, HttpResponse), admitted
        answer = admitted(message.body)
        return answer if isinstance(answer, HttpResponse) else await answer

    async def cpu(self, model: str, times: int) -> tuple[float, float]:
        """Microseconds of this process for one request, and of these in the second model's call."""
        message = self.message(model)
        self.timed.seconds = 0.0
        began = time.process_time()
        for _ in range(times):
            await self.whole(model, message)
        return (time.process_time() - began) / times * 1e6, self.timed.seconds / times * 1e6


async def bench(kind: Kind) -> Bench:
    """The gateway's parts, with backends that answer at once; checked that it does what it is to measure."""
    metrics = Metrics()
    policy = POLICY.format(metric=kind.metric).encode()
    snapshot = compile_snapshot(blueprint(policy, "policy.yaml"), None, metrics, time.monotonic)
    (cluster,) = snapshot.clusters.values()
    for endpoint in cluster.endpoints:
        endpoint.backend = TritonHttp(Pool(UP[kind.up]), "fixed")  # type: ignore[arg-type]
    timed = Timed(cluster)
    cluster.infer = timed.infer  # type: ignore[method-assign]
    authenticator = await build(AuthSettings(anonymous=True), lambda work, _: work.close())
    parts = FrontParts(Dataplane(snapshot, {}), authenticator, metrics.requested, lambda: "bench", lambda: True, 1 << 26)
    found = Bench(kind, HttpFront(parts), timed)
    answer = await found.whole("cascade", found.message("cascade"))
    headers = {name.lower(): value for name, value in (*answer.fixed, *answer.headers)}
    assert headers["x-penstock-escalation"] == ("fast→dear" if UP[kind.up] else "none"), headers
    return found


async def measured(kind: Kind, times: int, rounds: int) -> dict[str, float]:
    """Microseconds a request."""
    made = await bench(kind)
    lowest = {"first": math.inf, "second": math.inf, "cascade": math.inf, "call": math.inf}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for model in ("first", "second", "cascade"):
                whole, call = await made.cpu(model, times)
                lowest[model] = min(lowest[model], whole)
                if model == "cascade":
                    lowest["call"] = min(lowest["call"], call)
    finally:
        gc.enable()
    return {**lowest, "more": lowest["cascade"] - lowest["first"] - lowest["call"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """0: within the bar; 1: not."""
    parser = argparse.ArgumentParser("loadtest.cascade", description=__doc__, epilog="example: python -m loadtest.cascade")
    parser.add_argument("--times", type=int, default=100, help="requests in a slice (default 100)")
    parser.add_argument("--rounds", type=int, default=100, help="of so many slices the quickest counts (default 100)")
    parser.add_argument("--output", type=Path, help="JSON file to keep it in")
    options = parser.parse_args(arguments)
    found = {kind.name: uvloop.run(measured(kind, options.times, options.rounds)) for kind in KINDS}
    head = ("32 rows of 64 floats", "first alone", "second alone", "cascade", "its second call", f"beyond, bar {BAR:g} µs")
    shown = ("first", "second", "cascade", "call", "more")
    lines = [(name, *(f"{took[key]:.1f}" for key in shown)) for name, took in found.items()]
    print(results.columns([head, *lines]))
    if options.output:
        results.keep({"cascade": found, "bar_us": BAR}, options.output)
    return 0 if all(took["more"] <= BAR for took in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
