"""What reaches no route: answered in JSON like all else, and neither repeated nor logged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http.client import parse_headers
from io import BytesIO

import pytest

from gateway.admin.asked import ApiRequest, ApiResponse
from gateway.admin.port import AdminState, listen

UNDERSTOOD_NOT = {"error": "not understood: the first line, a header or a length is wrong or too long"}


async def broken() -> bytes:
    raise RuntimeError("secret of the house")


async def nowhere(asked: ApiRequest) -> ApiResponse:
    return ApiResponse(404, {})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """An open port whose metrics are broken."""
    listener = await listen(AdminState(broken, list, nowhere), "127.0.0.1", 0)
    yield listener.port
    await listener.close()


async def answer(port: int, request: bytes) -> tuple[int, dict[str, object], bytes]:
    """Status, content and all bytes of the answer to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        first, _, rest = head.partition(b"\r\n")
        headers = parse_headers(BytesIO(rest))
        assert ("application/json; charset=utf-8", "penstock", "no-store") == (
            headers["Content-Type"],
            headers["Server"],
            headers["Cache-Control"],
        )
        body = await reader.readexactly(int(headers["Content-Length"]))
    writer.close()
    return int(first.split()[1]), json.loads(body), head + body


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /api/policy HTTP/1.1\r\nHost: x\r\nX-API-Key: sec\x00ret\r\n\r\n",
        b"GET /api/policy HTTP/1.1\r\nHost: x\r\nX-API-Key: secret" + b"x" * 9000 + b"\r\n\r\n",
        b"GET /api/policy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\x01\r\n\r\n",
        b"GET /secret" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"secret\r\n\r\n",
    ],
)
async def test_what_is_no_request(port: int, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """400, without a word of it: what the parser complains of may be a credential."""
    status, content, all_of_it = await answer(port, request_)
    assert (400, UNDERSTOOD_NOT) == (status, content)
    assert not any(word in all_of_it or word.decode() in caplog.text for word in (b"sec", b"xxx"))


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (b"CONNECT secret:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "Not Found"),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: secret\r\n\r\n", 417, "Expectation Failed"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 500, "Internal Server Error"),
    ],
)
async def test_what_no_route_answers(port: int, request_: bytes, status: int, error: str) -> None:
    """What the router refuses by itself, and a defect of ours, which only the log explains."""
    found, content, all_of_it = await answer(port, request_)
    assert (status, {"error": error}) == (found, content)
    assert b"secret" not in all_of_it
