"""The gRPC codec: what comes in is checked before a tensor is looked at, what goes out is what came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, RequestedOutput, Tensors, TensorSpec
from backends.protocols.v2_grpc import (
    MAX_TENSORS,
    decode_request,
    decode_response,
    decode_stream_response,
    encode_request,
    encode_response,
    encode_stream_response,
    plain,
)
from backends.tensors import BYTES, DATATYPES, DTYPES, Tensor, pack_bytes

TYPED: dict[str, tuple[str, list[Any]]] = {
    "BOOL": ("bool_contents", [True, False]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-32768, 32767]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "FP32": ("fp32_contents", [0.5, float("-inf")]),
    "FP64": ("fp64_contents", [0.1, 1e300]),
    BYTES: ("bytes_contents", [b"", b"\xff\x00"]),
}


def asked(**fields: Any) -> bytes:
    """A ModelInferRequest on the wire."""
    return bytes(service_pb2.ModelInferRequest(**{"model_name": "m", **fields}).SerializeToString())


def part(name: str = "x", datatype: str = "INT32", shape: tuple[int, ...] = (2,), **contents: Any) -> Any:
    """One input, with typed contents if any are given."""
    found = service_pb2.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        found.contents.CopyFrom(service_pb2.InferTensorContents(**contents))
    return found


def refusal(wire: bytes) -> InferenceError:
    """What is said of a bad request."""
    with pytest.raises(InferenceError) as caught:
        decode_request(wire).payload.tensors()
    return caught.value


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any tensor of any datatype."""
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    count = int(np.prod(shape, dtype=int))
    if datatype == BYTES:
        data = pack_bytes(draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count)))
    else:
        size = count * DTYPES[datatype].itemsize
        data = draw(st.binary(min_size=size, max_size=size))
    return Tensor("t", datatype, shape, data)


@given(tensors())
def test_any_tensor_survives_the_wire_both_ways(tensor: Tensor) -> None:
    """A tensor written as raw contents is read back bit for bit, as an input and as an output."""
    spec = TensorSpec(tensor.name, tensor.datatype, tensor.shape)
    request = InferenceRequest("m", "1", "id", {}, (spec,), (), Tensors((tensor,)))
    assert (tensor,) == decode_request(encode_request(request)).payload.tensors()
    response = InferenceResponse("m", "1", "id", {}, Tensors((tensor,)))
    assert (tensor,) == decode_response(encode_response(response, request), "triton").payload.tensors()


@given(st.integers(0, 3), st.sampled_from([0, 1, 127, 128, 16383, 16384, 2**21]))
def test_hand_framed_contents_are_protobuf(count: int, size: int) -> None:
    """protobuf itself reads the fields framed by hand, at every length of their prefix."""
    given_tensors = tuple(Tensor(str(index), "UINT8", (size,), bytes(size)) for index in range(count))
    request = InferenceRequest("m", "", "", {}, (), (), Tensors(given_tensors))
    message = service_pb2.ModelInferRequest.FromString(encode_request(request))
    assert [bytes(size)] * count == list(message.raw_input_contents)
    assert [str(index) for index in range(count)] == [found.name for found in message.inputs]


def test_request_words() -> None:
    """Names, version, id, parameters of every type and requested outputs with theirs arrive as they were sent."""
    wire = asked(
        model_version="3",
        id="q",
        parameters={
            "b": service_pb2.InferParameter(bool_param=False),
            "i": service_pb2.InferParameter(int64_param=-5),
            "u": service_pb2.InferParameter(uint64_param=2**64 - 1),
            "d": service_pb2.InferParameter(double_param=0.5),
            "s": service_pb2.InferParameter(string_param="text"),
        },
        inputs=[part()],
        outputs=[
            service_pb2.ModelInferRequest.InferRequestedOutputTensor(
                name="y", parameters={"classification": service_pb2.InferParameter(int64_param=3)}
            )
        ],
        raw_input_contents=[bytes(8)],
    )
    request = decode_request(wire, (("traceparent", "00-1"),))
    assert (request.model, request.version, request.id) == ("m", "3", "q")
    assert request.parameters == {"b": False, "i": -5, "u": 2**64 - 1, "d": 0.5, "s": "text"}
    assert (TensorSpec("x", "INT32", (2,)),) == request.inputs
    assert (RequestedOutput("y", {"classification": 3}),) == request.outputs
    assert request.headers == (("traceparent", "00-1"),)
    assert request.rows == 2
    again = service_pb2.ModelInferRequest.FromString(encode_request(request))
    assert service_pb2.ModelInferRequest.FromString(wire) == again


@pytest.mark.parametrize("datatype", sorted(TYPED))
def test_typed_contents(datatype: str) -> None:
    """Typed contents mean what the raw ones would, and go on to a backend as they came."""
    field, values = TYPED[datatype]
    contents: dict[str, Any] = {field: values}
    wire = asked(inputs=[part(datatype=datatype, **contents)])
    request = decode_request(wire)
    (tensor,) = request.payload.tensors()
    assert values == tensor.array().tolist()
    assert request.payload.tensors() is request.payload.tensors()
    assert service_pb2.ModelInferRequest.FromString(wire) == service_pb2.ModelInferRequest.FromString(encode_request(request))


def test_a_renamed_request_keeps_its_tensors() -> None:
    """A question asked under another name and version, and without id and parameters, carries the same contents."""
    wire = asked(
        model_version="3",
        id="q",
        parameters={"b": service_pb2.InferParameter(bool_param=True)},
        inputs=[part()],
        raw_input_contents=[b"12345678"],
    )
    request = decode_request(wire)
    other = InferenceRequest("backend-name", "", "", {}, request.inputs, (), request.payload)
    expected = service_pb2.ModelInferRequest(model_name="backend-name", inputs=[part()], raw_input_contents=[b"12345678"])
    assert expected == service_pb2.ModelInferRequest.FromString(encode_request(other))
    assert service_pb2.ModelInferRequest.FromString(wire) == service_pb2.ModelInferRequest.FromString(encode_request(request))


def test_http_words_stay_behind() -> None:
    """The parameters of the binary tensor extension mean nothing over gRPC and are not sent."""
    tensor = Tensor("x", "UINT8", (1,), b"\x01")
    outputs = (RequestedOutput("y", {"binary_data": True, "classification": 2}),)
    request = InferenceRequest("m", "", "", {"binary_data_output": True, "k": 1}, (), outputs, Tensors((tensor,)))
    message = service_pb2.ModelInferRequest.FromString(encode_request(request))
    assert list(message.parameters) == ["k"]
    assert list(message.outputs[0].parameters) == ["classification"]


def shared(name: str) -> dict[str, Any]:
    """A parameter that names shared memory."""
    return {name: service_pb2.InferParameter(string_param="region")}


OUTPUT = service_pb2.ModelInferRequest.InferRequestedOutputTensor


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (b"\xff\xff\xff", ["ModelInferRequest"]),
        (asked(), ["1 to", "inputs"]),
        (asked(inputs=[part(str(index), shape=(0,)) for index in range(MAX_TENSORS + 1)]), ["1 to", "inputs"]),
        (asked(inputs=[part()], raw_input_contents=[bytes(8)] * 2), ["2 raw contents", "1 inputs"]),
        (asked(inputs=[part("x"), part("y")], raw_input_contents=[bytes(8)]), ["1 raw contents", "2 inputs"]),
        (asked(inputs=[part("x"), part("x")], raw_input_contents=[bytes(8)] * 2), ["twice"]),
        (asked(inputs=[part(int_contents=[1, 2])], raw_input_contents=[bytes(8)]), ["'x'", "both raw and typed"]),
        (asked(inputs=[part()], raw_input_contents=[bytes(7)]), ["'x'", "7 bytes", "INT32 [2] needs 8"]),
        (asked(inputs=[part(shape=(2**40, 2**40))], raw_input_contents=[bytes(8)]), ["'x'", "8 bytes"]),
        (asked(inputs=[part(shape=(-1,))], raw_input_contents=[bytes(8)]), ["'x'", "negative"]),
        (asked(inputs=[part(shape=(1,) * 17)], raw_input_contents=[bytes(4)]), ["'x'", "17 dimensions"]),
        (asked(inputs=[part(datatype="FP8")], raw_input_contents=[bytes(2)]), ["'x'", "FP8", "FP16"]),
        (asked(inputs=[part(datatype=BYTES)], raw_input_contents=[b"\x05\0\0\0abc"]), ["'x'", "past the end"]),
        (asked(inputs=[part(datatype=BYTES)], raw_input_contents=[b"\0\0\0\0"]), ["'x'", "1 BYTES elements"]),
        (asked(inputs=[part()]), ["'x'", "0 elements", "[2] needs 2"]),
        (asked(inputs=[part(int_contents=[1])]), ["'x'", "1 elements in int_contents", "needs 2"]),
        (asked(inputs=[part(fp32_contents=[1, 2])]), ["'x'", "int_contents", "found fp32_contents"]),
        (asked(inputs=[part(datatype="FP16", fp32_contents=[1, 2])]), ["'x'", "FP16", "raw_input_contents"]),
        (asked(inputs=[part(datatype="BF16", fp32_contents=[1, 2])]), ["'x'", "BF16", "raw_input_contents"]),
        (asked(inputs=[part(datatype="INT8", int_contents=[1, 128])]), ["'x'", "range of INT8"]),
        (asked(inputs=[part(datatype="UINT16", uint_contents=[1, 65536])]), ["'x'", "range of UINT16"]),
        (asked(parameters=shared("shared_memory_region"), inputs=[part(int_contents=[1, 2])]), ["request", "shared memory"]),
        (
            asked(inputs=[part(int_contents=[1, 2])], outputs=[OUTPUT(name="y", parameters=shared("shared_memory_offset"))]),
            ["'y'", "shared memory"],
        ),
        (asked(parameters={"k": service_pb2.InferParameter()}, inputs=[part(int_contents=[1, 2])]), ["'k'", "no value"]),
    ],
)
def test_bad_requests(wire: bytes, words: list[str]) -> None:
    """What cannot be a request is the client's error, and the text names the input and what was expected."""
    error = refusal(wire)
    assert error.kind == ErrorKind.INVALID
    assert [word for word in words if word not in error.message] == []


def test_an_input_in_shared_memory_is_refused() -> None:
    """A tensor that would be read from the backend machine's memory is never passed on."""
    found = part()
    found.parameters["shared_memory_region"].string_param = "region"
    assert "shared memory" in refusal(asked(inputs=[found])).message


@pytest.mark.parametrize(
    "changes", [{"parameters": {"k": 2**64}}, {"parameters": {"k": -(2**63) - 1}}, {"id": "\ud800"}, {"version": "\ud800"}]
)
def test_what_protobuf_cannot_hold_is_the_clients_error(changes: dict[str, Any]) -> None:
    """Numbers past 64 bits and text that is no UTF-8, which JSON clients can send, are refused clearly."""
    fields = {"model": "m", "version": "", "id": "", "parameters": {}, "inputs": (), "outputs": (), "payload": Tensors(())}
    with pytest.raises(InferenceError) as caught:
        encode_request(InferenceRequest(**{**fields, **changes}))
    assert caught.value.kind == ErrorKind.INVALID


def response_message() -> Any:
    """A whole ModelInferResponse."""
    return service_pb2.ModelInferResponse(
        model_name="backend-name",
        model_version="2",
        id="q",
        parameters={"triton_final_response": service_pb2.InferParameter(bool_param=True)},
        outputs=[service_pb2.ModelInferResponse.InferOutputTensor(name="y", datatype="INT32", shape=(1,))],
        raw_output_contents=[b"\x07\0\0\0"],
    )


def test_response_words() -> None:
    """A response is told as the backend told it, and leaves under the name and id the client used."""
    response = decode_response(response_message().SerializeToString(), "triton")
    assert (response.model, response.version, response.id) == ("backend-name", "2", "q")
    assert response.parameters == {"triton_final_response": True}
    found = response.output("y")
    assert found is not None
    assert found.array().tolist() == [7]
    request = InferenceRequest("public", "", "mine", {}, (), (), Tensors(()))
    expected = response_message()
    expected.model_name, expected.id = "public", "mine"
    assert expected == service_pb2.ModelInferResponse.FromString(encode_response(response, request))
    streamed = service_pb2.ModelStreamInferResponse.FromString(encode_stream_response(response, request))
    assert expected == streamed.infer_response
    assert streamed.error_message == ""


def test_typed_outputs() -> None:
    """A server that answers with typed contents is understood."""
    message = response_message()
    del message.raw_output_contents[:]
    message.outputs[0].contents.int_contents.append(7)
    assert decode_response(message.SerializeToString(), "kserve").payload.tensors()[0].array().tolist() == [7]


@pytest.mark.parametrize("raw", [b"\x07\0\0", b"\x07\0\0\0\0"])
def test_a_backends_bad_answer_is_the_backends_error(raw: bytes) -> None:
    """Lengths that do not hold in an answer are never told to the client as its own mistake."""
    message = response_message()
    message.raw_output_contents[0] = raw
    for wire, decode in (
        (message.SerializeToString(), decode_response),
        (b"\xff", decode_response),
        (service_pb2.ModelStreamInferResponse(infer_response=message).SerializeToString(), decode_stream_response),
        (b"\xff", decode_stream_response),
    ):
        with pytest.raises(InferenceError) as caught:
            decode(wire, "triton")
        assert (caught.value.kind, caught.value.source, caught.value.reason) == (ErrorKind.BROKEN, "triton", "bad-answer")


@pytest.mark.parametrize(("name", "version"), [("m" * 257, "1"), ("m", "1" * 129), ("m", "1\x1b[31m"), ("m\u00e9", "1")])
def test_what_a_backend_calls_itself_is_bounded(name: str, version: str) -> None:
    """It becomes headers of the answer."""
    message = response_message()
    message.model_name, message.model_version = name, version
    with pytest.raises(InferenceError, match="cannot be read"):
        decode_response(message.SerializeToString(), "triton")


def test_a_backends_bad_bytes_elements_are_the_backends_error() -> None:
    """The elements of a BYTES output are only looked at when asked for, and are the backend's fault then, too."""
    message = response_message()
    message.outputs[0].datatype = BYTES
    payload = decode_response(message.SerializeToString(), "triton").payload
    with pytest.raises(InferenceError) as caught:
        payload.tensors()
    assert caught.value.kind == ErrorKind.BROKEN


def test_an_error_message_in_a_stream() -> None:
    """An error in the place of an answer is its text."""
    wire = service_pb2.ModelStreamInferResponse(error_message="boom").SerializeToString()
    assert "boom" == decode_stream_response(wire, "triton")


def test_descriptions_are_json_as_over_http() -> None:
    """64-bit integers are numbers, enumerations names, maps objects, and empty fields are there."""
    config = {
        "name": "m",
        "max_batch_size": 8,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 64]}],
        "dynamic_batching": {"max_queue_delay_microseconds": 5},
        "parameters": {"k": {"string_value": "v"}},
        "metric_tags": {"a": "b"},
    }
    found = plain(ParseDict({"config": config}, service_pb2.ModelConfigResponse()).config)
    assert (found["name"], found["max_batch_size"], found["platform"]) == ("m", 8, "")
    assert (found["input"][0]["data_type"], found["input"][0]["dims"]) == ("TYPE_FP32", [-1, 64])
    assert found["dynamic_batching"]["max_queue_delay_microseconds"] == 5
    assert (found["parameters"], found["metric_tags"]) == ({"k": {"string_value": "v"}}, {"a": "b"})
    assert "ensemble_scheduling" not in found
