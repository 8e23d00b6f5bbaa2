"""What all tests share: the gateway's own event loop, hypothesis without a stopwatch, and the real parts, each started once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

from tests.faults.figures import LONG
from tests.real_parts import GatewayProcess, Redis, Triton, policy, start_gateway, start_triton

settings.register_profile("penstock", deadline=None)  # a busy machine is not a failure
settings.load_profile("penstock")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test runs on the loop that the gateway runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(tryfirst=True)  # before marks are chosen by
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders whose every test runs a whole gateway, or measures one, are slow. What is timed has three tries in CI."""
    for item in items:
        if item.get_closest_marker("timed") and not LONG:
            item.add_marker(pytest.mark.flaky(reruns=2))
        if item.path.relative_to(Path(__file__).parent).parts[0] in ("features", "conformance", "loadtest"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def triton() -> Iterator[Triton]:
    """A real Triton with every model of the serving image. Where that is not installed, tests fail and say what to run."""
    with start_triton() as server:
        yield server
    server.log.unlink()


@pytest.fixture(scope="session", params=["triton-http", "triton-grpc"])
def gateway(request: pytest.FixtureRequest, triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A real gateway process before that Triton, once for each protocol between the two."""
    protocol: str = request.param
    running = start_gateway(tmp_path_factory.mktemp(protocol), policy(triton, protocol))
    yield running
    assert 0 == running.stop()
    assert "Traceback" not in running.log()  # a defect that no test saw


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A real Redis of the test's own; up in some 20 ms. Where it is not installed, tests fail and say what to run."""
    with Redis(tmp_path) as running:
        yield running
