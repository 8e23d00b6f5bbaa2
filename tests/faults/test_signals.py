"""What operators do to a gateway under load: SIGTERM ends it in order, SIGHUP changes the policy without losing a request."""

from __future__ import annotations

import copy
import http.client
import signal
import socket
import threading
import time
from typing import Any

import pytest

from tests.faults.test_real_backend import halted
from tests.faults.traffic import BODY, Traffic, asking, traffic
from tests.real_parts import GatewayProcess, Triton, get, policy, until

pytestmark = pytest.mark.slow


def refused(address: str) -> bool:
    """Whether nobody listens there any more."""
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return True
    return False


def test_sigterm_lets_requests_in_flight_end(own_gateway: GatewayProcess, own_triton: Triton) -> None:
    """Not ready, no new connections, yet everybody who waits is answered; then status 0."""
    with traffic(own_gateway) as running, halted(own_triton):
        until(lambda: 4 == own_gateway.metric("penstock_in_flight", backend="triton"))
        before = len(running.told)
        own_gateway.process.send_signal(signal.SIGTERM)
        until(lambda: refused(own_gateway.http) and refused(own_gateway.grpc))
        status, why = get(own_gateway.admin, "/readyz")
        assert 503 == status
        assert b"draining" in why
        assert 4 == own_gateway.metric("penstock_in_flight", backend="triton")
        running.end()
    assert 4 == len(running.told) - before
    assert [] == running.failed
    assert {"200"} == running.statuses()
    assert all(told.right for told in running.told)
    assert 0 == own_gateway.process.wait(5)


def test_sigterm_does_not_wait_for_ever(own_gateway: GatewayProcess, own_triton: Triton) -> None:
    """Who is not answered when the grace is over (2 s here) is let go, and the process ends with status 0 all the same."""
    with halted(own_triton), traffic(own_gateway) as running:
        until(lambda: 4 == own_gateway.metric("penstock_in_flight", backend="triton"))
        running.end()
        begin = time.monotonic()
        own_gateway.process.send_signal(signal.SIGTERM)
        assert 0 == own_gateway.process.wait(10)
        assert 1.9 < time.monotonic() - begin < 4


def test_sigterm_under_load_breaks_no_answer(own_gateway: GatewayProcess) -> None:
    """Of clients that connect anew for every request each is answered whole, or finds nobody; nobody gets half an answer."""
    told: list[int] = []
    broken: list[Exception] = []

    def ask() -> None:
        while True:
            connection = http.client.HTTPConnection(own_gateway.http, timeout=10)
            try:
                connection.request("POST", "/v2/models/simple/infer", BODY, {**own_gateway.credential, "Connection": "close"})
                answer = connection.getresponse()
                answer.read()
                told.append(answer.status)
            except ConnectionError:  # refused; or reset while still in the kernel's queue, where no program can see it
                return
            except (OSError, http.client.HTTPException) as error:
                broken.append(error)
                return
            finally:
                connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: len(told) > 200)
    own_gateway.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert 0 == own_gateway.process.wait(10)
    assert [] == broken
    assert {200} == set(told)


def renamed(document: dict[str, Any], route: str, max_in_flight: int) -> dict[str, Any]:
    """The same policy, but for the name of a route and a number that makes it another cluster with connections of its own."""
    changed = copy.deepcopy(document)
    changed["models"]["simple"]["routes"][0]["name"] = route
    changed["backends"]["triton"]["max_in_flight"] = max_in_flight
    return changed


def versions(running: Traffic, since: int) -> set[tuple[str, str]]:
    """Policy version and route of the answers from that one on."""
    return {(told.headers["x-penstock-policy"], told.headers["x-penstock-route"]) for told in running.told[since:]}


def test_sighup_under_load_loses_nothing(own_gateway: GatewayProcess, own_triton: Triton, protocol: str) -> None:
    """Twenty policies, each with a cluster of its own, under load: no request fails, and every answer is by one policy whole."""
    document = policy(own_triton, protocol)
    seen = set[tuple[str, str]]()
    with traffic(own_gateway) as running:
        for number in range(20):
            own_gateway.write_policy(renamed(document, f"route-{number}", 200 + number))
            own_gateway.process.send_signal(signal.SIGHUP)
            until(lambda: bool(running.told) and f"route-{number}" == running.told[-1].headers.get("x-penstock-route"))  # noqa: B023
            since = len(running.told)
            until(lambda: len(running.told) > since + 20)  # noqa: B023
            seen |= versions(running, since + 4)  # four clients: one answer each may still be under the policy before
    assert [] == running.failed
    assert {"200"} == running.statuses()
    assert all(told.right for told in running.told)
    assert [f"route-{number}" for number in range(20)] == sorted({route for _, route in seen}, key=lambda name: int(name[6:]))
    assert 20 == len(seen)
    assert 21 == own_gateway.metric("penstock_policy_reloads_total", result="ok")
    until(own_gateway.idle, 1)


@pytest.mark.parametrize("broken", ["version: 1\nmodels: {", '{"version": 1, "backends": {}, "modls": {}}', ""])
def test_a_broken_policy_is_refused(own_gateway: GatewayProcess, broken: str) -> None:
    """The one before goes on serving under its own version, the log and a metric tell of it; a good one is taken again."""
    good = (own_gateway.folder / "policy.yaml").read_text()
    with asking(own_gateway, "http") as ask, traffic(own_gateway) as running:
        version = ask({}).headers["x-penstock-policy"]
        own_gateway.write_policy(broken)
        own_gateway.process.send_signal(signal.SIGHUP)
        until(lambda: 1 == own_gateway.metric("penstock_policy_reloads_total", result="refused"))
        assert version == ask({}).headers["x-penstock-policy"]
        assert f"version {version} stays in force" in own_gateway.log()
        own_gateway.write_policy(good + "\n")
        own_gateway.process.send_signal(signal.SIGHUP)
        until(lambda: version != ask({}).headers["x-penstock-policy"])
        since = len(running.told)
        until(lambda: len(running.told) > since + 20)
    assert [] == running.failed
    assert {"200"} == running.statuses()
    assert 1 == own_gateway.metric("penstock_policy_info")
