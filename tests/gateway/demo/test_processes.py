"""What is started is ready, says why when it is not, and is gone afterwards."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from gateway.demo.expect import StartError, until
from gateway.demo.policy import read
from gateway.demo.processes import RESTING, Gateway, Ports, get, make_credentials, post, samples, start_gateway
from tests.gateway.demo.stage import POLICY

FREE = Ports(0, 0, 0, 0, 0, 0)


def started(folder: Path, ports: Ports) -> Gateway:
    """A gateway under the shipped policy; no Triton stands behind it."""
    make_credentials(folder)
    file = folder / "policy.yaml"
    read(POLICY).at("127.0.0.1:1", "127.0.0.1:1").write(file)
    return start_gateway(folder, ports, file)


def test_every_port_in_use_is_named_at_once() -> None:
    """With the option that chooses another."""
    with socket.socket() as one, socket.socket() as two:
        for listener in (one, two):
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        http, triton = (listener.getsockname()[1] for listener in (one, two))
        with pytest.raises(StartError) as refused:
            Ports(http=http, grpc=0, admin=0, triton_http=0, triton_grpc=triton, triton_metrics=0).claimed()
    assert f"port {http} (--http): address already in use" in str(refused.value)
    assert f"port {triton} (--triton-grpc)" in str(refused.value)
    assert "OPTIONS=--free-ports" in str(refused.value)


def test_zero_takes_different_free_ports() -> None:
    """All six."""
    found = FREE.claimed()
    assert 6 == len({getattr(found, name) for name in Ports.__slots__} - {0})
    assert all(getattr(found, name) in RESTING for name in Ports.__slots__)


@pytest.mark.slow
def test_a_gateway_serves_reloads_and_ends(tmp_path: Path) -> None:
    """Ready when it is returned; SIGHUP reaches it; its end is orderly, and a second stop changes nothing."""
    gateway = started(tmp_path, FREE.claimed())
    try:
        assert (200, True) == ((found := get(gateway.admin, "/readyz"))[0], json.loads(found[1])["ready"])
        assert 401 == post(gateway.http, "/v2/models/digits/infer")[0]
        assert 1 == gateway.metric("penstock_policy_reloads_total", result="ok")
        gateway.reload()
        until("a reload", lambda: gateway.metric("penstock_policy_reloads_total", result="ok") == 2)
        assert "ready" in gateway.log()
    finally:
        status = gateway.stop()
    assert (0, 0) == (status, gateway.stop())
    assert 1 == len(gateway.access_log.read_text().splitlines())


@pytest.mark.slow
def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The end of its log is in the error."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = Ports(http=listener.getsockname()[1], grpc=0, admin=0)
        with pytest.raises(StartError, match=r"(?s)status 1.*address already in use"):
            started(tmp_path, taken)


def test_metrics_are_read_by_their_whole_name() -> None:
    """Labels may hold anything but a quote."""
    text = '# HELP a b\na_total{x="1",y="a,b}"} 2.0\na_total_more{x="1"} 3\na_total 4\n'
    assert [({"x": "1", "y": "a,b}"}, 2.0), ({}, 4.0)] == samples(text, "a_total")
