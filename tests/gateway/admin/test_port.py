"""The operators' port over a real socket: what it answers, and what it keeps to itself."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.admin.api import MAX_BODY
from gateway.admin.asked import ApiError, ApiRequest, ApiResponse
from gateway.admin.port import AdminListener, AdminState, NoPort, listen
from gateway.telemetry.metrics import CONTENT_TYPE, Metrics


class Fixture:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.reasons: list[str] = []
        self.url = ""


async def nothing() -> bytes:
    return b""


async def echo(asked: ApiRequest) -> ApiResponse:
    """What the API was asked, with 405 for DELETE."""
    if asked.method == "DELETE":
        return ApiResponse(405, {"error": "no"}, "GET, POST")
    try:
        body = (await asked.body()).decode()
    except ApiError as error:
        return ApiResponse(error.status, error.content)
    return ApiResponse(
        200, {"method": asked.method, "path": asked.path, "keys": asked.headers.get("x-api-key", []), "body": body}
    )


@pytest.fixture
async def served() -> AsyncIterator[Fixture]:
    """A listening port and the state behind it."""
    fixture = Fixture()

    async def exposition() -> bytes:
        return fixture.metrics.exposition()

    listener: AdminListener = await listen(AdminState(exposition, lambda: fixture.reasons, echo), "127.0.0.1", 0)
    fixture.url = f"http://127.0.0.1:{listener.port}"
    yield fixture
    await listener.close()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An ordinary HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_metrics_are_prometheus_text(served: Fixture, client: aiohttp.ClientSession) -> None:
    """Prometheus gets the exposition under the media type it negotiates by."""
    served.metrics.policy_loaded("3f2a")
    async with client.get(served.url + "/metrics") as answer:
        assert 200 == answer.status
        assert CONTENT_TYPE == answer.headers["Content-Type"]
        assert 'penstock_policy_info{version="3f2a"} 1' in (await answer.text()).splitlines()


async def test_health_says_the_process_lives(served: Fixture, client: aiohttp.ClientSession) -> None:
    """Liveness does not depend on readiness: a restart would not help."""
    served.reasons.append("starting")
    async with client.get(served.url + "/healthz") as answer:
        assert (200, {"alive": True}) == (answer.status, await answer.json())


async def test_readiness_follows_its_reasons(served: Fixture, client: aiohttp.ClientSession) -> None:
    """Ready is 200; otherwise 503 and every reason, asked anew each time."""
    async with client.get(served.url + "/readyz") as answer:
        assert (200, {"ready": True, "reasons": []}) == (answer.status, await answer.json())
    served.reasons.append("draining")
    async with client.get(served.url + "/readyz") as answer:
        assert (503, {"ready": False, "reasons": ["draining"]}) == (answer.status, await answer.json())


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/metrics/x"), ("POST", "/metrics"), ("GET", "/apis")])
async def test_everything_else_is_not_here(served: Fixture, client: aiohttp.ClientSession, method: str, path: str) -> None:
    """Other paths and methods are 404, in JSON, and say what there is."""
    async with client.request(method, served.url + path) as answer:
        assert 404 == answer.status
        assert "/metrics" in (await answer.json())["error"]


async def test_the_api_is_asked_as_it_came(served: Fixture, client: aiohttp.ClientSession) -> None:
    """Method, path without its query, headers in lower case with all their values, and the body."""
    headers = [("X-Api-Key", "one"), ("X-Api-Key", "two")]
    async with client.post(served.url + "/api/policy/reload?x=1", data=b"{}", headers=headers) as answer:
        expected = {"method": "POST", "path": "/api/policy/reload", "keys": ["one", "two"], "body": "{}"}
        assert (200, expected) == (answer.status, await answer.json())
    async with client.delete(served.url + "/api") as answer:
        assert (405, "GET, POST") == (answer.status, answer.headers["Allow"])


async def test_a_body_is_bounded(served: Fixture, client: aiohttp.ClientSession) -> None:
    """One that is too large is refused, compressed or not; the largest is read."""
    async with client.post(served.url + "/api/x", data=b"x" * MAX_BODY) as answer:
        assert MAX_BODY == len((await answer.json())["body"])
    packed = {"Content-Encoding": "gzip"}
    for body, headers in ((b"x" * (MAX_BODY + 1), {}), (gzip.compress(b"x" * (MAX_BODY + 1)), packed)):
        async with client.post(served.url + "/api/x", data=body, headers=headers) as answer:
            assert (413, {"error": "the body may have 64 KiB"}) == (answer.status, await answer.json())


async def test_where_there_is_no_port_nothing_is_closed() -> None:
    """A worker has none."""
    port = NoPort()
    await port.close()
    assert 0 == port.port


async def test_answers_name_no_versions(served: Fixture, client: aiohttp.ClientSession) -> None:
    """The server header does not tell which Python and which library runs here."""
    async with client.get(served.url + "/healthz") as answer:
        assert "penstock" == answer.headers["Server"]
        assert "no-store" == answer.headers["Cache-Control"]


async def test_taken_port_is_an_oserror(served: Fixture) -> None:
    """A port in use is said at the start, by the exception the caller expects."""
    with pytest.raises(OSError, match="address already in use"):
        await listen(AdminState(nothing, list, echo), "127.0.0.1", int(served.url.rpartition(":")[2]))


async def test_closed_port_refuses(client: aiohttp.ClientSession) -> None:
    """After close nobody listens."""
    listener = await listen(AdminState(nothing, list, echo), "127.0.0.1", 0)
    await listener.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(f"http://127.0.0.1:{listener.port}/healthz")


def test_importing_it_costs_no_aiohttp() -> None:
    """Commands that serve nothing do not pay for the web server."""
    program = "import gateway.admin.port, sys; sys.exit('aiohttp' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode
