"""What all tests share: the gateway's own event loop, hypothesis without a stopwatch, and the real parts, each started once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling

from tests.faults.figures import LONG, PROPERTY, Figure, LateError, table
from tests.real_parts import GatewayProcess, Redis, Triton, policy, start_gateway, start_triton

settings.register_profile("penstock", deadline=None)  # a busy machine is not a failure
settings.load_profile("penstock")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test runs on the loop that the gateway runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(tryfirst=True)  # before marks are chosen by
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what folders say of their tests, and has those that measure come last, on one core, when nobody else is left."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in ("features", "conformance", "loadtest"):
            item.add_marker(pytest.mark.slow)
        timed = item.get_closest_marker("timed") is not None
        measures = timed or folder == "loadtest" or "figures" in getattr(item, "fixturenames", ())
        if measures:
            item.add_marker(pytest.mark.xdist_group("alone"))
        if measures and not LONG:
            item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=None if timed else [LateError.__name__]))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is not None)


def pytest_collection_finish() -> None:
    """Keep the collector from walking through thousands of collected tests again and again."""
    gc.collect()
    gc.freeze()


class Apart(LoadGroupScheduling):  # type: ignore[misc]  # published without types
    """A file's tests run in one process, so that what they share is started once; files run beside each other."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Apart | None:
    """For `--dist loadgroup`; the others are as they are."""
    return Apart(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """All figures of the run as one table."""
    ended = [
        report for reports in terminalreporter.stats.values() for report in reports if getattr(report, "when", "") == "teardown"
    ]
    found = [Figure(*value) for report in ended for name, value in report.user_properties if name == PROPERTY]
    if found:
        terminalreporter.section("figures and their bars")
        for line in table(found):
            terminalreporter.write_line(line)


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
