"""Hostile inputs over gRPC: every lie about a tensor is INVALID_ARGUMENT before a backend hears of it, whatever it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: PROTOCOL, endpoints: ["127.0.0.1:PORT"]}}
models:
  echo:
    variants: {only: {backend: triton, model: echo}}
    routes: [{name: default, use: only}]
"""


class Counting(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A server that describes nothing and counts questions."""

    def __init__(self) -> None:
        self.asked = 0

    async def ModelInfer(self, request: Any, _: Any) -> Any:  # noqa: N802
        self.asked += 1
        return pb.ModelInferResponse(model_name="echo", model_version="1")

    async def ModelStreamInfer(self, questions: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:  # noqa: N802
        async for _asked in questions:
            self.asked += 1
            yield pb.ModelStreamInferResponse(infer_response=pb.ModelInferResponse(model_name="echo"))


@pytest.fixture
async def behind_grpc(start: Start) -> AsyncIterator[tuple[Running, Counting]]:
    """A gateway before a server that would take anything, over gRPC: messages pass as they came."""
    server, model = grpc.aio.server(), Counting()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield await start(POLICY.replace("PROTOCOL", "triton-grpc").replace("PORT", str(port))), model
    await server.stop(0)


def asked(*inputs: dict[str, Any], raws: tuple[bytes, ...] = ()) -> Any:
    """A question with these inputs, FP32 [1] named `x` but for what they say; `typed` are their contents by field."""
    message = pb.ModelInferRequest(model_name="echo", raw_input_contents=raws)
    for given in inputs:
        fields = {"name": "x", "datatype": "FP32", "shape": [1], **given}
        typed, parameters = fields.pop("typed", {}), fields.pop("parameters", {})
        tensor = message.inputs.add(**fields)
        for name, values in typed.items():
            getattr(tensor.contents, name).extend(values)
        for name, value in parameters.items():
            tensor.parameters[name].string_param = value
    return message


ONE = np.ones(1, "<f4").tobytes()
WORD = (3).to_bytes(4, "little") + b"abc"
HOSTILE: dict[str, tuple[Any, str]] = {
    "no input": (asked(), "inputs"),
    "too many inputs": (asked(*({"name": str(n)} for n in range(1025)), raws=(ONE,) * 1025), "inputs"),
    "the same name twice": (asked({}, {}, raws=(ONE, ONE)), "inputs"),
    "fewer raws than inputs": (asked({}, {"name": "y"}, raws=(ONE,)), "raw-contents"),
    "more raws than inputs": (asked({}, raws=(ONE, ONE)), "raw-contents"),
    "raw and typed": (asked({"typed": {"fp32_contents": [1.0]}}, raws=(ONE,)), "raw-contents"),
    "a raw too short": (asked({}, raws=(ONE[:3],)), "shape"),
    "a raw too long": (asked({}, raws=(ONE + b"x",)), "shape"),
    "too many dimensions": (asked({"shape": [1] * 17}, raws=(ONE,)), "shape"),
    "a negative dimension": (asked({"shape": [-1]}, raws=(ONE,)), "shape"),
    "two negative dimensions": (asked({"shape": [-1, -1]}, raws=(ONE,)), "shape"),
    "a product past 64 bits": (asked({"shape": [2**32, 2**32]}, raws=(b"",)), "shape"),
    "a product that wraps to one": (asked({"shape": [2**62 + 1, 4]}, raws=(ONE * 4,)), "shape"),
    "an unknown datatype": (asked({"datatype": "FP8"}, raws=(ONE,)), "datatype"),
    "too few elements": (asked({"shape": [2], "typed": {"fp32_contents": [1.0]}}), "shape"),
    "no elements": (asked({}), "shape"),
    "contents of another kind": (asked({"typed": {"int_contents": [1]}}), "contents"),
    "contents of two kinds": (asked({"typed": {"fp32_contents": [1.0], "int_contents": [1]}}), "contents"),
    "contents for a datatype without": (asked({"datatype": "FP16", "typed": {"fp32_contents": [1.0]}}), "contents"),
    "an INT8 of 300": (asked({"datatype": "INT8", "typed": {"int_contents": [300]}}), "range"),
    "an INT16 of -40000": (asked({"datatype": "INT16", "typed": {"int_contents": [-40000]}}), "range"),
    "a UINT8 of 256": (asked({"datatype": "UINT8", "typed": {"uint_contents": [256]}}), "range"),
    "a UINT16 of 65536": (asked({"datatype": "UINT16", "typed": {"uint_contents": [65536]}}), "range"),
    "BYTES past the end": (asked({"datatype": "BYTES"}, raws=((9).to_bytes(4, "little") + b"abc",)), "bytes"),
    "BYTES with half a length": (asked({"datatype": "BYTES"}, raws=(WORD + b"\x01",)), "bytes"),
    "BYTES of too few elements": (asked({"datatype": "BYTES", "shape": [2]}, raws=(WORD,)), "shape"),
    "BYTES of too many elements": (asked({"datatype": "BYTES"}, raws=(WORD + WORD,)), "shape"),
    "BYTES of 4 GB": (asked({"datatype": "BYTES"}, raws=(b"\xff\xff\xff\xff",)), "bytes"),
    "shared memory": (asked({"parameters": {"shared_memory_region": "r"}}, raws=(ONE,)), "shared-memory"),
    "shared memory in place of contents": (asked({"parameters": {"shared_memory_region": "r"}}), "shared-memory"),
}


async def refusal(gate: Running, message: Any) -> tuple[str, str]:
    """Status and reason."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gate.stub().ModelInfer(message, metadata=[("x-api-key", gate.keys["free"])])
    reason = dict(caught.value.trailing_metadata() or ())["x-penstock-error"]
    return caught.value.code().name, str(reason)


@pytest.mark.parametrize("case", HOSTILE)
async def test_before_a_backend_that_speaks_grpc(behind_grpc: tuple[Running, Counting], case: str) -> None:
    """Where messages pass unread there is nobody else who would look. Asked alone and in a stream."""
    gate, model = behind_grpc
    message, reason = HOSTILE[case]
    assert ("INVALID_ARGUMENT", reason) == await refusal(gate, message)
    stream = gate.stub().ModelStreamInfer(metadata=[("x-api-key", gate.keys["free"])])
    await stream.write(message)
    await stream.done_writing()
    assert [True] == [bool(each.error_message) async for each in stream]
    assert 0 == model.asked


@pytest.mark.parametrize("case", HOSTILE)
async def test_before_a_backend_that_speaks_http(start: Start, case: str) -> None:
    """No connection is made for it."""
    gate = await start(POLICY.replace("PROTOCOL", "triton-http"))
    message, reason = HOSTILE[case]
    assert ("INVALID_ARGUMENT", reason) == await refusal(gate, message)
    assert [] == gate.backend.asked


@pytest.mark.parametrize(
    "message",
    [
        asked({}, raws=(ONE,)),
        asked({"datatype": "INT8", "shape": [2], "typed": {"int_contents": [-128, 127]}}),
        asked({"datatype": "BYTES", "shape": [2]}, raws=(WORD + (0).to_bytes(4, "little"),)),
        asked({"datatype": "BYTES", "typed": {"bytes_contents": [b"\xff"]}}),
        asked({"shape": [0, 4]}),
    ],
)
async def test_what_is_in_order_passes(behind_grpc: tuple[Running, Counting], message: Any) -> None:
    """The edges of what is allowed reach the backend."""
    gate, model = behind_grpc
    await gate.stub().ModelInfer(message, metadata=[("x-api-key", gate.keys["free"])])
    assert 1 == model.asked


async def test_a_long_tensor_of_words_holds_up_nobody(behind_grpc: tuple[Running, Counting]) -> None:
    """Half a million elements are looked through beside the loop: the gateway answers others meanwhile."""
    gate, model = behind_grpc
    count = 500_000
    message = asked({"datatype": "BYTES", "shape": [count]}, raws=(WORD * count,))
    stub, longest = gate.stub(), 0.0
    loop = asyncio.get_running_loop()
    call = asyncio.ensure_future(stub.ModelInfer(message, metadata=[("x-api-key", gate.keys["free"])]))
    while not call.done():
        before = loop.time()
        await asyncio.sleep(0.001)
        longest = max(longest, loop.time() - before)
    await call
    assert (1, True) == (model.asked, longest < 0.1)
