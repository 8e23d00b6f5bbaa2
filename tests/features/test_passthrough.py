"""Passing through: the JSON is written anew, every tensor goes on in binary, bytes behind the JSON untouched; few headers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.features.conftest import PLAIN, packed

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

ODD = (
    b' {"id" : "my id", "inputs":[ {"shape":[1,4],"datatype":"FP32", "name":"image","data":[[3.0e0,0,0.10,-0.0]]} ] ,'
    b'"unknown":[1,{}] }\n'
)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ECHO = PLAIN.replace("digits_fast", "echo")


async def test_json_is_written_anew(digits: Running) -> None:
    """Its numbers arrive in binary, exactly; the id arrives, and no field that the protocol does not have."""
    reply = await digits.ask("POST", "/v2/models/digits/infer", ODD, {"Content-Type": "application/json"})
    assert 200 == reply.status
    (asked,) = digits.backend.asked
    entry = {"name": "image", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
    assert ("/v2/models/digits_fast/infer", {"inputs": [entry], "id": "my id"}) == (asked.path, asked.head)
    assert np.array([3, 0, 0.1, -0.0], "<f4").tobytes() == asked.tail
    assert ("digits", "1", "my id") == tuple(reply.json[each] for each in ("model_name", "model_version", "id"))
    assert [103] == reply.output("label")


async def test_binary_bytes_are_the_client_s_own(start: Start) -> None:
    """Tensors with every bit pattern, NaN's included, pass both ways untouched; the head says the same, its length is its own."""
    gate = await start(ECHO)
    values = np.random.default_rng(1).integers(0, 2**32, (3, 7), dtype="<u4")
    entry = {"name": "x", "datatype": "FP32", "shape": [3, 7], "parameters": {"binary_data_size": values.nbytes}}
    message = {"inputs": [entry], "parameters": {"binary_data_output": True}}
    head = json.dumps(message).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    reply = await gate.ask("POST", "/v2/models/digits/infer", head + values.tobytes(), length)
    (asked,) = gate.backend.asked
    assert (message, values.tobytes()) == (asked.head, asked.tail)
    assert ("digits", values.tobytes()) == (reply.json["model_name"], reply.body[-values.nbytes :])
    assert "application/octet-stream" == reply.headers["content-type"]


@pytest.mark.parametrize("name", ["d", "digits_fast", "a.much-longer_name-than.the-backend-s"])
async def test_the_public_name_of_any_length(start: Start, name: str) -> None:
    """The answer names the model as the client does, however long its name is."""
    gate = await start(PLAIN.replace("  digits:", f"  {name}:"))
    body, headers = packed([7], parameters={"binary_data_output": True})
    reply = await gate.ask("POST", f"/v2/models/{name}/infer", body, headers)
    assert (name, 48) == (reply.json["model_name"], len(reply.body) - int(reply.headers["inference-header-content-length"]))
    assert 107 == np.frombuffer(reply.body[-8:], "<i8")[0]


async def test_few_headers_go_on(digits: Running) -> None:
    """Credentials, cookies, internal names and hop-by-hop headers stay here; the trace and the request's id go on.

    The other four are the gateway's own: framing, and what the body is.
    """
    sent = {
        "Cookie": "a=b",
        "X-Penstock-Route": "mine",
        "X-Forwarded-For": "1.2.3.4",
        "Connection": "keep-alive",
        "X-Custom": "c",
        "Accept-Encoding": "gzip",
        "traceparent": PARENT,
        "tracestate": "a=1,b=2",
        "X-Request-Id": "abc-1",
        "Content-Type": "text/whatever",
    }
    assert 200 == (await digits.infer([0], sent)).status
    (asked,) = digits.backend.asked
    own = {"host", "content-type", "content-length", "inference-header-content-length"}
    assert own | {"x-request-id", "traceparent", "tracestate"} == set(asked.headers)
    assert (PARENT, "a=1,b=2", "abc-1") == tuple(asked.headers[each] for each in ("traceparent", "tracestate", "x-request-id"))
    assert f"127.0.0.1:{digits.backend.port}" == asked.headers["host"]
    assert "application/octet-stream" == asked.headers["content-type"]


async def test_an_invalid_trace_stays_here(digits: Running) -> None:
    """Without a valid traceparent neither it nor its tracestate is passed on."""
    await digits.infer([0], {"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01", "tracestate": "a=1"})
    assert not {"traceparent", "tracestate"} & set(digits.backend.asked[0].headers)


async def test_escapes_are_written_anew(digits: Running) -> None:
    """Escapes, which another parser might read as something else, do not go on; what they say does."""
    body = ODD.replace(b"my id", b"my \\u0069d")
    assert [103] == (await digits.ask("POST", "/v2/models/digits/infer", body)).output("label")
    (asked,) = digits.backend.asked
    assert ([3], "my id") == (asked.rows, asked.head["id"])
    assert b"\\" not in asked.body


async def test_a_subset_of_outputs(digits: Running) -> None:
    """Only the outputs asked for come back."""
    reply = await digits.infer([0, 1], outputs=[{"name": "label"}])
    assert ["label"] == [each["name"] for each in reply.json["outputs"]]


async def test_a_connection_to_the_backend_is_used_again(digits: Running) -> None:
    """One request after another needs one connection."""
    for row in range(20):
        assert [100 + row] == (await digits.infer([row])).output("label")
    await digits.learned()
    assert digits.backend.connections <= 3  # the signatures' own asks run beside
