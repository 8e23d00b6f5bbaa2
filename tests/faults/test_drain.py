"""The order of an orderly end, alone and with workers: not ready, serve on, finish, exit; and drains that can be undone."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.faults.crew import Crew, Server, gone, policy, running, serving
from tests.faults.reloads import Place, start
from tests.real_parts import answers, get, until

pytestmark = pytest.mark.slow

ENDS = {"notice": "20s", "idle": "300ms", "grace": "20s"}


@pytest.fixture(params=[1, 2], ids=["alone", "two workers"])
def crew(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crew]:
    """A gateway that gives long notice."""
    with serving() as backend, running(tmp_path, backend, workers=request.param, drain=ENDS) as made:
        yield made


def ended(crew: Crew, within: float) -> bool:
    """Whether it ends with status 0 so soon."""
    return 0 == crew.gateway.process.wait(within)


def test_notice_comes_first(crew: Crew) -> None:
    """Load balancers hear that it wants no traffic on every port, while everybody is served; another SIGTERM ends that."""
    crew.signal(signal.SIGTERM)
    until(lambda: not answers(crew.gateway.admin, "/readyz"))
    assert (503, True) == ((found := get(crew.gateway.admin, "/readyz"))[0], b"draining" in found[1])
    until(lambda: 503 == get(crew.gateway.http, "/v2/health/ready")[0])
    with grpc.insecure_channel(crew.gateway.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert not stub.ServerReady(service_pb2.ServerReadyRequest()).ready
        assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
    assert [(200, "default")] * 12 == crew.many(12)
    crew.hold(4)
    pids = crew.workers()
    crew.signal(signal.SIGTERM)
    until(lambda: not answers(crew.gateway.http, "/v2/health/live"))
    assert 4 == crew.gateway.metric("penstock_in_flight")
    assert [(200, "default")] * 4 == crew.released()
    assert ended(crew, 5)
    assert gone(pids)


def test_a_terminal_is_given_no_notice(crew: Crew) -> None:
    """Nobody balances load to who is there. An open stream without a question ends soon, a second Ctrl-C cuts off the rest."""
    told: list[Any] = []
    asked, over = threading.Event(), threading.Event()
    request = service_pb2.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1.0)

    def questions() -> Iterator[Any]:
        yield request
        over.wait(20)

    def listen() -> None:
        with grpc.insecure_channel(crew.gateway.grpc) as channel:
            stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(questions())
            try:
                for answer in stream:
                    told.append(answer.error_message)
                    asked.set()
            except grpc.RpcError as error:
                told.append(error.code())

    thread = threading.Thread(target=listen)
    thread.start()
    assert asked.wait(10)
    crew.hold(4)
    crew.signal(signal.SIGINT)
    until(lambda: ["", grpc.StatusCode.UNAVAILABLE] == told, 5)
    over.set()
    thread.join()
    assert crew.gateway.process.poll() is None
    crew.signal(signal.SIGINT)
    assert ended(crew, 5)
    assert {(0, "")} == set(crew.released())


@dataclass
class Pair:
    """A gateway over two endpoints, and its operator."""

    place: Place
    crew: Crew
    two: Server

    def api(self, method: str, path: str, **body: Any) -> Any:
        """What it answers."""
        status, found = self.place.api(method, path, body or None)
        assert 200 == status, found
        return found

    def second(self) -> dict[str, Any]:
        """What is told of the second endpoint."""
        found: dict[str, Any] = self.api("GET", "/api/endpoints")["endpoints"][1]
        return found

    def asked(self) -> float:
        """How often the second endpoint was."""
        address = f"127.0.0.1:{self.two.server_port}"
        return self.place.gateway.metric("penstock_backend_requests_total", endpoint=address)


@pytest.fixture(params=[1, 2], ids=["alone", "two workers"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """It runs."""
    with serving() as one, serving() as two:
        document = json.loads(policy(one))
        document["backends"]["b"]["endpoints"].append(f"127.0.0.1:{two.server_port}")
        auth = {"anonymous": True, "api_keys": str(tmp_path / "api-keys.yaml")}
        place = start(tmp_path, json.dumps(document), workers=request.param, auth=auth)
        yield Pair(place, Crew(place.gateway, one), two)
        assert 0 == place.gateway.stop()
        assert "Traceback" not in place.gateway.log()


def held(pair: Pair, asking: list[threading.Thread]) -> int:
    """How many of the questions asked the second endpoint holds, and does not answer yet."""
    pair.two.go.clear()
    for thread in asking:
        thread.start()
    until(lambda: len(asking) == len(pair.crew.told) + pair.two.waiting)
    return pair.two.waiting


def test_what_is_drained_is_taken_back(pair: Pair) -> None:
    """An endpoint finishes what it has and gets nothing new, of no worker, nor of one that starts later, under no policy.

    The gateway itself, drained, wants no traffic, whatever port asks, and serves who still comes, until it is taken back.
    """
    gateway, crew, address = pair.place.gateway, pair.crew, f"127.0.0.1:{pair.two.server_port}"
    asking = [threading.Thread(target=crew.ask) for _ in range(16)]
    count = held(pair, asking)
    found = pair.api("POST", "/api/drain", backend="b", endpoint=address)["endpoints"]
    assert [(address, True, count)] == [(each["endpoint"], each["drained"], each["in_flight"]) for each in found]
    assert [(200, "default")] * 20 == crew.many(20)
    pair.two.go.set()
    for thread in asking:
        thread.join()
    until(lambda: 0 == pair.second()["in_flight"])
    pair.place.rename(pair.place.file.read_text().replace("default", "other") + "\n")
    until(lambda: {(200, "other")} == set(crew.many(10)))
    assert count == pair.asked()  # which keeps what those counted who are killed now
    for pid in crew.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: crew.many(1) == [(200, "other")])
    assert {(200, "other")} == set(crew.many(20))
    assert count == pair.asked()
    assert (True, True, "closed", 1.0, None) == tuple(
        pair.second()[name] for name in ("drained", "up", "breaker", "weight", "last_failure")
    )
    pair.api("POST", "/api/drain", backend="b", drained=False)
    until(lambda: bool(crew.many(5)) and pair.asked() > count)
    written = [json.loads(line) for line in (gateway.folder / "state" / "audit.jsonl").read_text().splitlines()]
    assert [("alice", "drain", f"backend b, endpoint {address}"), ("alice", "undrain", "backend b")] == [
        (each["who"], each["what"], each["note"]) for each in written if "drain" in each["what"]
    ]
    check_the_gateway_itself(pair)


def check_the_gateway_itself(pair: Pair) -> None:
    """Drained and taken back."""
    ports = ((pair.place.gateway.admin, "/readyz"), (pair.place.gateway.http, "/v2/health/ready"))
    pair.api("POST", "/api/drain", drained=True)
    assert [503, 503] == [get(*port)[0] for port in ports]
    assert b"drained by an operator" in get(*ports[0])[1]
    assert {(200, "other")} == set(pair.crew.many(10))
    pair.api("POST", "/api/drain", drained=False)
    assert [200, 200] == [get(*port)[0] for port in ports]
