"""The access log: one line for each request, with what it was and never what it carried."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.features.conftest import PLAIN, ask, framed, image
from tests.features.oip_server import failing

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

LOGGING = {"telemetry": "{access_log: json}"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Capture = pytest.CaptureFixture[bytes]


async def lines(gate: Running, capsysbinary: Capture) -> list[dict[str, Any]]:
    """Everything that was logged, once the gateway has stopped."""
    await gate.gateway.stop()
    written = capsysbinary.readouterr().out
    assert written.isascii()
    return [json.loads(line) for line in written.splitlines()]


async def test_a_line_says_what_happened(start: Start, capsysbinary: Capture) -> None:
    """Who asked what in how many bytes of the client's own, who answered, what it cost and how long it took."""
    gate = await start(PLAIN, **LOGGING)
    sent = {"X-Request-Id": "r-1", "traceparent": PARENT}
    reply = await gate.infer([0, 1, 2], sent)
    (line,) = await lines(gate, capsysbinary)
    times = [line.pop(name) for name in ("time", "ms", "gateway_ms", "backend_ms")]
    assert min(times) > 0
    assert {
        "request_id": "r-1",
        "method": "POST",
        "path": "/v2/models/digits/infer",
        "code": "200",
        "peer": "127.0.0.1",
        "bytes_in": len(json.dumps({"inputs": [image([0, 1, 2])]})),
        "bytes_out": len(reply.body),
        "subject": "free",
        "tenant": "acme",
        "model": "digits",
        "route": "default",
        "variant": "fast",
        "rows": 3,
        "cost": 3.0,
        "escalation": "none",
        "policy": gate.gateway.plane.snapshot.version,
        "trace": "0af7651916cd43dd8448eb211c80319c",
    } == line


async def test_nothing_secret(start: Start, capsysbinary: Capture) -> None:
    """No credential, good or bad, no tensor, no query, no backend's inner words, on any way a request can end."""
    gate = await start(PLAIN, **LOGGING)
    key, secret = gate.keys["free"], "s3cr3t-tensor-77777"
    await gate.infer([77777], id=secret, parameters={"p": secret})
    await gate.infer([0], {"X-API-Key": key + "x"}, caller="")
    await gate.infer([0], {"Authorization": f"Bearer {secret}"}, caller="")
    await gate.ask("POST", f"/v2/models/digits/infer?token={secret}", f'{{"inputs":[{secret}'.encode())
    gate.backend.scripts["digits_fast"] = failing(500, f"Traceback {secret}")
    await gate.infer([0])
    await gate.gateway.stop()
    written = capsysbinary.readouterr()
    for text in (written.out.decode(), written.err.decode()):
        assert [] == [word for word in (key, key[-20:], secret, "77777", "Traceback", "token=") if word in text]
    assert ["200", "401", "401", "400", "502"] == [json.loads(line)["code"] for line in written.out.splitlines()]


async def test_hostile_values_are_escaped(start: Start, capsysbinary: Capture) -> None:
    """Quotes, terminal escapes and text that is no ASCII cannot break a line or a terminal."""
    gate = await start(PLAIN, **LOGGING)
    port = gate.gateway.ports.http.port
    await ask(port, framed("GET", "/v2/models/%22%1b", {"X-Request-Id": 'a"},{"b":1', "traceparent": "\x7f"}))
    await ask(port, framed("GET", "/v2/models/x'$(rm)", {"X-Request-Id": "caf\u00e9 \u2028"}))
    found = await lines(gate, capsysbinary)
    assert [["400"], ["404"]] == [[each["code"]] for each in found]
    assert all("-" in each["request_id"] for each in found)
    assert "/v2/models/x'$(rm)" == found[1]["path"]


async def test_every_ending_is_a_line(start: Start, capsysbinary: Capture) -> None:
    """Refusals of the edge, of the dialect and of the backend have their reasons, and each request one line."""
    gate = await start(PLAIN, **LOGGING)
    await gate.ask("GET", "/v2/health/live", caller="")
    await gate.infer([0], caller="")
    await gate.ask("POST", "/v2/models/none/infer", b"{}")
    await ask(gate.gateway.ports.http.port, [b"BREW /tea HTTP/1.1\r\n\r\n"])
    gate.backend.scripts["digits_fast"] = failing(503)
    await gate.infer([0])
    found = await lines(gate, capsysbinary)
    assert [("200", None), ("401", "no-credential"), ("404", "not-found"), ("501", "method"), ("503", "overloaded")] == [
        (each["code"], each.get("reason")) for each in found
    ]


async def test_it_can_be_turned_off(start: Start, capsysbinary: Capture) -> None:
    """With `access_log: off` there is none."""
    gate = await start(PLAIN)
    await gate.infer([0])
    assert [] == await lines(gate, capsysbinary)
