"""The Open Inference Protocol spelled out by hand, so that every bit of a tensor is the test's own: binary, JSON and gRPC."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from backends.tensors import DTYPES, pack_bytes, unpack_bytes

IN_JSON = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64", "BYTES")


@dataclass(frozen=True)
class Sent:
    """One tensor: its elements as raw little-endian bytes."""

    datatype: str
    shape: tuple[int, ...]
    raw: bytes = field(repr=False)

    def values(self) -> list[Any]:
        """The elements as JSON has them. Raises UnicodeDecodeError for BYTES that are no text."""
        if self.datatype == "BYTES":
            return [value.decode() for value in unpack_bytes(self.raw, "")]
        found: list[Any] = np.frombuffer(self.raw, DTYPES[self.datatype]).tolist()
        return found

    def array(self) -> Any:
        """The elements shaped, for datatypes that numpy has."""
        return np.frombuffer(self.raw, DTYPES[self.datatype]).reshape(self.shape)


@dataclass(frozen=True)
class Answered:
    """What came back: outputs by name, and the headers that say how (lower case, arrows as "->"); or the status and an error."""

    outputs: Mapping[str, Sent]
    headers: Mapping[str, str]
    status: str = "ok"
    error: str = ""


Tensors = Mapping[str, Sent]
# Takes host:port, the model (`name` or `name/versions/number`), its inputs, and what lets the caller in.
Ask = Callable[[str, str, Tensors, Mapping[str, str]], Answered]


def binary(address: str, model: str, inputs: Tensors, credential: Mapping[str, str] = {}) -> Answered:
    """HTTP with the binary extension both ways."""
    entries = [
        {"name": name, "datatype": each.datatype, "shape": each.shape, "parameters": {"binary_data_size": len(each.raw)}}
        for name, each in inputs.items()
    ]
    head = json.dumps({"inputs": entries, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream", **credential}
    return _post(address, model, b"".join((head, *(each.raw for each in inputs.values()))), headers)


def as_json(address: str, model: str, inputs: Tensors, credential: Mapping[str, str] = {}) -> Answered:
    """HTTP with JSON both ways, data as one flat list."""
    entries = [
        {"name": name, "datatype": each.datatype, "shape": each.shape, "data": each.values()} for name, each in inputs.items()
    ]
    return _post(address, model, json.dumps({"inputs": entries}).encode(), {"Content-Type": "application/json", **credential})


def over_grpc(address: str, model: str, inputs: Tensors, credential: Mapping[str, str] = {}) -> Answered:
    """ModelInfer with raw contents."""
    name, _, version = model.partition("/versions/")
    request = service_pb2.ModelInferRequest(model_name=name, model_version=version)
    request.raw_input_contents.extend(each.raw for each in inputs.values())
    for name, each in inputs.items():
        request.inputs.add(name=name, datatype=each.datatype, shape=each.shape)
    try:
        answer, call = _stub(address).ModelInfer.with_call(request, metadata=tuple(credential.items()), timeout=20)
    except grpc.RpcError as failure:
        return Answered({}, {}, failure.code().name, failure.details() or "")
    raws = zip(answer.outputs, answer.raw_output_contents, strict=True)
    outputs = {each.name: Sent(each.datatype, tuple(each.shape), raw) for each, raw in raws}
    return Answered(outputs, dict(call.initial_metadata()))


FORMS: Mapping[str, Ask] = {"binary": binary, "json": as_json, "grpc": over_grpc}


def address(part: Any, form: str) -> str:
    """Where a gateway or a Triton takes this form."""
    found: str = part.grpc if form == "grpc" else part.http
    return found


_connections: dict[str, http.client.HTTPConnection] = {}
_stubs: dict[str, tuple[grpc.Channel, Any]] = {}


def _post(address: str, model: str, body: bytes, headers: Mapping[str, str]) -> Answered:
    connection = _connections.setdefault(address, http.client.HTTPConnection(address, timeout=20))
    connection.request("POST", f"/v2/models/{model}/infer", body, dict(headers))
    answer = connection.getresponse()
    whole = answer.read()
    found = {name.lower(): value.encode("latin-1").decode().replace("→", "->") for name, value in answer.getheaders()}
    head = int(found.get("inference-header-content-length", len(whole)))
    message = json.loads(whole[:head])
    if answer.status != 200:
        return Answered({}, found, str(answer.status), message["error"])
    return Answered(dict(_outputs(message["outputs"], whole[head:])), found)


def _outputs(entries: Sequence[Mapping[str, Any]], tail: bytes) -> Iterable[tuple[str, Sent]]:
    at = 0
    for entry in entries:
        shape = tuple(entry["shape"])
        if "data" in entry:
            yield entry["name"], Sent(entry["datatype"], shape, packed(entry["datatype"], entry["data"]))
        else:
            size = entry["parameters"]["binary_data_size"]
            yield entry["name"], Sent(entry["datatype"], shape, tail[at : at + size])
            at += size
    assert at == len(tail)


def packed(datatype: str, values: Sequence[Any]) -> bytes:
    """JSON's elements as raw bytes."""
    if datatype == "BYTES":
        return pack_bytes(value.encode() for value in values)
    return np.array(values, DTYPES[datatype]).tobytes()


def _stub(address: str) -> Any:
    if address not in _stubs:
        channel = grpc.insecure_channel(address)
        _stubs[address] = (channel, service_pb2_grpc.GRPCInferenceServiceStub(channel))
    return _stubs[address][1]


def close() -> None:
    """Ends every connection; a Triton that is told to stop waits for them."""
    for connection in _connections.values():
        connection.close()
    for channel, _ in _stubs.values():
        channel.close()
    _connections.clear()
    _stubs.clear()
