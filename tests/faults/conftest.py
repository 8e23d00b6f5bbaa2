"""Parts to break: a Triton and a gateway of each test's own, and servers that never answer."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.faults.figures import LONG, Figures
from tests.faults.silent import SilentGrpc, SilentHttp
from tests.real_parts import GatewayProcess, Triton, policy, start_gateway, start_triton

MODELS = ("simple", "repeat_int32")  # no torch: up in a quarter of a second


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes what a test measured together with its bar."""
    request.node.user_properties.clear()  # of an earlier try
    return Figures(request.node.user_properties)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make faults` measures: what has no figure runs in `make test` alone."""
    if LONG:
        kept = [item for item in items if "figures" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture
def own_triton() -> Iterator[Triton]:
    """A Triton that the test may stop and kill; never one of the session's."""
    server = start_triton(MODELS)
    yield server
    with contextlib.suppress(ProcessLookupError):
        server.process.send_signal(signal.SIGCONT)
    server.process.kill()  # nobody waits for an orderly end here
    server.stop()
    server.log.unlink()


@pytest.fixture(params=["triton-http", "triton-grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    """What the gateway speaks to its backend."""
    made: str = request.param
    return made


StartGateway = Callable[[Mapping[str, Any]], GatewayProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartGateway]:
    """Starts a gateway under a policy; its log must not tell of defects."""
    running: list[GatewayProcess] = []

    def begin(document: Mapping[str, Any]) -> GatewayProcess:
        running.append(start_gateway(tmp_path, document))
        return running[-1]

    yield begin
    for each in running:
        assert 0 == each.stop()
        assert "Traceback" not in each.log()


@pytest.fixture
def own_gateway(own_triton: Triton, protocol: str, start: StartGateway) -> GatewayProcess:
    """A gateway before the test's own Triton."""
    return start(policy(own_triton, protocol))


@pytest.fixture
async def silent(protocol: str) -> AsyncIterator[SilentHttp | SilentGrpc]:
    """A backend that takes questions, never answers, and notices when the asker leaves."""
    server = SilentHttp() if protocol == "triton-http" else SilentGrpc()
    await server.start()
    yield server
    await server.stop()
