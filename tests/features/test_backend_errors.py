"""Failing backends: what each kind of failure becomes for the client, whose words, and that nothing of them is held."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.features.conftest import PLAIN, packed, until
from tests.features.oip_server import Script, Waiting, failing, resetting, saying, written

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

TRACE = "Traceback: /opt/models/secret.py line 7"
ANSWER = b'{"model_name":"digits_fast","model_version":"1","outputs":[]}'

CASES: dict[str, tuple[Script, int, str]] = {
    "400": (failing(400, "unexpected shape for input 'image'"), 400, "invalid"),
    "404": (failing(404, "Request for unknown model: 'digits_fast' is not found"), 503, "not-loaded"),
    "400 that means 404": (failing(400, "Request for unknown model: 'digits_fast' is not found"), 503, "not-loaded"),
    "413": (failing(413, "too large"), 413, "too-large"),
    "429": (failing(429), 503, "overloaded"),
    "500": (failing(500, TRACE), 502, "broken"),
    "501": (failing(501, "decoupled"), 400, "invalid"),
    "502": (failing(502, TRACE), 502, "broken"),
    "503": (failing(503, TRACE), 503, "overloaded"),
    "504": (failing(504, TRACE), 504, "deadline"),
    "418 without text": (failing(418, body=b"<html>"), 400, "invalid"),
    "a redirect": (saying(b"HTTP/1.1 302 F\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n"), 502, "broken"),
    "garbage": (saying(b"\x16\x03\x01\x00\r\n\r\n"), 502, "broken"),
    "closed": (saying(), 502, "broken"),
    "reset": (resetting, 502, "broken"),
    "a head cut short": (saying(b"HTTP/1.1 200 OK\r\nContent-Le"), 502, "broken"),
    "a body cut short": (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + ANSWER), 502, "broken"),
    "chunks cut short": (saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"), 502, "broken"),
    "no JSON": (failing(200, body=b"<html>busy</html>"), 502, "bad-answer"),
    "JSON cut short": (failing(200, body=ANSWER[:-2]), 502, "bad-answer"),
    "another JSON": (failing(200, body=b'["model_version"]'), 502, "bad-answer"),
    "nothing": (failing(200, body=b""), 502, "bad-answer"),
    "a head's length that lies": (saying(written(200, ANSWER, {"Inference-Header-Content-Length": "99"})), 502, "bad-answer"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_what_it_becomes(digits: Running, case: str) -> None:
    """Status and reason say whose fault it is; the backend's inner words stay inside; the next request is answered."""
    script, status, reason = CASES[case]
    digits.backend.scripts["digits_fast"] = script
    reply = await digits.infer([0])
    assert (status, reason) == reply.error
    assert not {"Traceback", "secret", "html"} & set(reply.json["error"].replace("/", " ").split())
    assert ("1" if status == 503 else None) == reply.headers.get("retry-after")
    del digits.backend.scripts["digits_fast"]
    assert [101] == (await digits.infer([1])).output("label")
    assert 0 == (await digits.metrics())["penstock_in_flight", ("triton",)]


@pytest.mark.parametrize("case", ["no JSON", "JSON cut short", "another JSON", "a head's length that lies"])
async def test_a_binary_client_is_told_the_same(digits: Running, case: str) -> None:
    """A client of the binary form gets the error in JSON, too."""
    script, status, reason = CASES[case]
    digits.backend.scripts["digits_fast"] = script
    body, headers = packed([0], parameters={"binary_data_output": True})
    assert (status, reason) == (await digits.ask("POST", "/v2/models/digits/infer", body, headers)).error


async def test_a_backend_that_is_not_there(start: Start) -> None:
    """Nobody listens: 503 at once, and when to come back."""
    reply = await (await start(PLAIN.replace("PORT", "9"))).infer([0])
    assert ((503, "unavailable"), "1") == (reply.error, reply.headers["retry-after"])


async def test_another_endpoint_stands_in(start: Start) -> None:
    """One of two servers is gone: no client notices."""
    gate = await start(PLAIN.replace('["127.0.0.1:PORT"]', '["127.0.0.1:9", "127.0.0.1:PORT"], balance: round-robin'))
    assert [200] * 6 == [(await gate.infer([row])).status for row in range(6)]
    assert 6 == len(gate.backend.asked)


async def test_too_many_at_once(start: Start) -> None:
    """Past `max_in_flight` a request waits a quarter of its time, then is refused, and counted as shed."""
    gate = await start(PLAIN.replace('PORT"]', 'PORT"], max_in_flight: 2'))
    waiting = Waiting()
    gate.backend.scripts["digits_fast"] = waiting
    held = [asyncio.create_task(gate.infer([row])) for row in range(2)]
    await until(lambda: 2 == len(gate.backend.asked))
    reply = await gate.infer([2], {"X-Request-Timeout-Ms": "150"})
    assert (503, "max-in-flight") == reply.error
    assert reply.headers["retry-after"] in ("1", "2", "3")
    assert 1 == (await gate.metrics())["penstock_shed_total", ("max-in-flight",)]
    waiting.go.set()
    assert [200, 200] == [(await each).status for each in held]


async def test_an_answer_with_spaces_keeps_the_public_name(digits: Running) -> None:
    """A server that writes its JSON with spaces is read like any other."""
    spaced = {"model_name": "digits_fast", "model_version": "3", "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [1], "data": [7]}]}  # fmt: skip
    digits.backend.scripts["digits_fast"] = failing(200, body=json.dumps(spaced, indent=1).encode())
    reply = await digits.infer([0])
    assert ("digits", "3", [7]) == (reply.json["model_name"], reply.headers["x-model-version"], reply.output("label"))
