"""A real Triton that dies, comes back, or hangs behind a running gateway."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from backends.deadline import RESERVE
from tests.faults.conftest import MODELS
from tests.faults.traffic import SUM, asking, traffic
from tests.real_parts import GatewayProcess, Triton, start_triton, until

pytestmark = pytest.mark.slow

TIMEOUT, OVERSHOOT = 0.3, 0.15  # seconds
IN_TIME = {"x-request-timeout-ms": str(int(TIMEOUT * 1000))}
UNAVAILABLE = {"http": "503", "grpc": "UNAVAILABLE"}
LATE = {"http": "504", "grpc": "DEADLINE_EXCEEDED"}


@contextmanager
def halted(server: Triton) -> Iterator[None]:
    """The server takes connections and does nothing."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_a_killed_server_is_503_until_a_new_one_is_there(own_gateway: GatewayProcess, own_triton: Triton) -> None:
    """Mid-traffic: what was under way fails at once, what comes later is 503, and a new server is found without any restart."""
    with traffic(own_gateway) as running:
        until(lambda: len(running.told) > 50)
        assert {"200"} == running.statuses()
        own_triton.process.kill()
        own_triton.stop()  # the stubs it left behind, too
        until(lambda: running.told[-1].status != "200")
        dead = len(running.told)
        until(lambda: len(running.told) > dead + 100)
        with start_triton(MODELS, own_triton.ports) as again:
            until(lambda: {"200"} == running.statuses(len(running.told) - 50), 10)
            running.end()
            until(own_gateway.idle)
            again.process.kill()  # an orderly end waits for the gateway's idle connections
    assert [] == running.failed
    # 502: the server died over this very question. Over gRPC both are UNAVAILABLE.
    assert {"200", "503", "502", "UNAVAILABLE"} >= running.statuses()
    assert all(told.right for told in running.told if told.status == "200")
    assert 2.0 > max(told.seconds for told in running.told)
    assert 8 >= sum(told.status == "502" or told.headers.get("x-penstock-error") == "broken" for told in running.told)


@pytest.mark.parametrize("front", ["http", "grpc"])
def test_no_server_is_said_so(own_gateway: GatewayProcess, own_triton: Triton, front: str) -> None:
    """The dialect's own words, the bounded reason, and over HTTP when to come back; all of it at once."""
    own_triton.process.kill()
    own_triton.stop()
    with asking(own_gateway, front) as ask:
        ask({})
        told = ask({})
    assert UNAVAILABLE[front] == told.status
    assert "unavailable" == told.headers["x-penstock-error"]
    assert "could not be reached" in told.error
    assert 1.5 > told.seconds
    if front == "http":
        assert "1" == told.headers["retry-after"]


@pytest.mark.parametrize("front", ["http", "grpc"])
def test_a_hanging_server_is_504_at_the_deadline(own_gateway: GatewayProcess, own_triton: Triton, front: str) -> None:
    """Not before, hardly after; nothing stays in flight; and once the server goes on, so does everything."""
    with asking(own_gateway, front) as ask:
        assert ask({}).right
        with halted(own_triton):
            for _ in range(3):
                told = ask(IN_TIME)
                assert LATE[front] == told.status
                assert "deadline" == told.headers["x-penstock-error"]
                assert TIMEOUT - RESERVE <= told.seconds + 0.001  # our clock starts a little before the first byte
                assert TIMEOUT + OVERSHOOT > told.seconds
            until(own_gateway.idle, 0.5)
        assert ask({}).right


def test_a_server_that_goes_on_answers_all_that_waited(own_gateway: GatewayProcess, own_triton: Triton) -> None:
    """A pause shorter than the deadline costs time, and no answer."""
    with traffic(own_gateway, ("http", "grpc") * 8) as running, halted(own_triton):
        until(lambda: 16 == own_gateway.metric("penstock_in_flight", backend="triton"))
        running.end()
    assert {"200"} == running.statuses()
    assert [] == running.failed
    assert all(told.right for told in running.told)
    until(own_gateway.idle, 0.5)


def pair(module: object) -> list[object]:
    """What `simple` takes."""
    inputs = []
    for name in ("INPUT0", "INPUT1"):
        inputs.append(module.InferInput(name, [1, 16], "INT32"))  # type: ignore[attr-defined]
        inputs[-1].set_data_from_numpy(np.arange(16, dtype=np.int32).reshape(1, 16))
    return inputs


def test_timeouts_of_the_clients_own(own_gateway: GatewayProcess, own_triton: Triton) -> None:
    """The upstream clients' timeouts end the request at the gateway, too; the deadline of gRPC reaches the backend's question."""
    with halted(own_triton):
        with tritonclient.grpc.InferenceServerClient(own_gateway.grpc) as client:
            begin = time.monotonic()
            with pytest.raises(InferenceServerException) as late:
                client.infer("simple", pair(tritonclient.grpc), client_timeout=TIMEOUT, headers=own_gateway.credential)
            assert "StatusCode.DEADLINE_EXCEEDED" == late.value.status()
            assert TIMEOUT + OVERSHOOT > time.monotonic() - begin
        until(own_gateway.idle, 0.5)
        with tritonclient.http.InferenceServerClient(own_gateway.http, network_timeout=TIMEOUT) as client:
            begin = time.monotonic()
            with pytest.raises(OSError, match="timed out"):
                client.infer("simple", pair(tritonclient.http), headers=own_gateway.credential)
            assert TIMEOUT + OVERSHOOT > time.monotonic() - begin
        until(own_gateway.idle, 0.5)
    assert 1 <= own_gateway.metric("penstock_requests_total", model="simple", code="499")
    with tritonclient.http.InferenceServerClient(own_gateway.http) as client:
        answer = client.infer("simple", pair(tritonclient.http), headers=own_gateway.credential)
        assert [SUM] == answer.as_numpy("OUTPUT0").tolist()
