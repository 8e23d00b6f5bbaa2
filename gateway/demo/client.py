"""A client such as any application has: the Open Inference Protocol over HTTP and gRPC, with nothing of the gateway in it."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.demo.expect import WrongError

Array = npt.NDArray[Any]
_NAMES = {"float32": "FP32", "int32": "INT32", "int64": "INT64", "uint32": "UINT32", "float64": "FP64"}
_TYPES: dict[str, type] = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64, "UINT32": np.uint32, "BYTES": np.str_}
Form = Literal["json", "gzip", "binary"]
FORMS: tuple[Form, ...] = ("json", "gzip", "binary")
BACK = 3  # times that a client comes back
_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask: a model, its inputs (text only as JSON), and how: `form` is what HTTP carries, both ways."""

    model: str
    inputs: Mapping[str, Array]
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    form: Form = "binary"

    def having(self, **headers: str) -> Question:
        """The same with more headers; `_` in a name stands for `-`."""
        return replace(self, headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back by either transport: `headers` in lower case, `outputs` by name, the `error` text, `seconds` it took."""

    status: int | str
    headers: Mapping[str, str]
    outputs: Mapping[str, Array]
    error: str
    seconds: float

    @property
    def variant(self) -> str:
        """Who answered."""
        return self.headers.get("x-penstock-variant", "")

    @property
    def cost(self) -> float:
        """What it cost."""
        return float(self.headers.get("x-penstock-cost", "nan"))

    @property
    def labels(self) -> list[int]:
        """The `label` of each row."""
        return [int(label) for label in self.outputs["label"].ravel()]


class Tally:
    """How many requests all clients together have sent, to compare with the gateway's access log."""

    def __init__(self) -> None:
        self.sent = 0
        self._lock = threading.Lock()

    def count(self) -> None:
        """One more."""
        with self._lock:
            self.sent += 1


class HttpClient:
    """One kept-alive connection; not for several threads at once."""

    def __init__(self, address: str, tally: Tally) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=30)
        self._tally = tally

    def ask(self, question: Question) -> Reply:
        """One inference. Where there is no room now it comes back when it is told to. Raises WrongError where nobody answers."""
        body, headers = _encoded(question)
        start = time.perf_counter()
        path, headers = f"/v2/models/{question.model}/infer", {**headers, **question.headers}
        response, content = self._exchange("POST", path, body, headers)
        for _ in range(BACK):
            if response.status != 503 or (pause := response.getheader("Retry-After")) is None:
                break
            time.sleep(int(pause))
            response, content = self._exchange("POST", path, body, headers)
        seconds = time.perf_counter() - start
        found = {name.lower(): value.encode("latin-1").decode("utf-8", "replace") for name, value in response.getheaders()}
        if response.status != 200:
            return Reply(response.status, found, {}, json.loads(content)["error"], seconds)
        if found.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        return Reply(200, found, _decoded(content, found.get(_LENGTH.lower())), "", seconds)

    def get(self, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        """Status and JSON (None where there is no body) of anything that is not inference."""
        response, content = self._exchange("GET", path, None, headers)
        return response.status, json.loads(content) if content else None

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._tally.count()
        try:
            self._connection.request(method, path, body, dict(headers))
            response = self._connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise WrongError(f"expected an answer to {method} {path}:\n    seen     {error!r}") from error


class GrpcClient:
    """One channel."""

    def __init__(self, address: str, tally: Tally) -> None:
        self._channel = grpc.insecure_channel(address)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._tally = tally

    def ask(self, question: Question) -> Reply:
        """One inference; `status` is the gRPC status word."""
        start = time.perf_counter()
        self._tally.count()
        metadata = tuple(question.headers.items())
        try:
            answer, call = self._stub.ModelInfer.with_call(_message(question), metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            told: Any = error  # grpc's own class for it is private
            found = _headers(told.initial_metadata(), told.trailing_metadata())
            return Reply(told.code().name, found, {}, told.details(), time.perf_counter() - start)
        found = _headers(call.initial_metadata(), call.trailing_metadata())
        return Reply("OK", found, _outputs(answer), "", time.perf_counter() - start)

    def stream(self, question: Question) -> Generator[Mapping[str, Array], None, None]:
        """One question, its answers as they come; closing the iterator hangs up. Raises WrongError for an error answer."""
        self._tally.count()
        call = self._stub.ModelStreamInfer(iter([_message(question)]), metadata=tuple(question.headers.items()), timeout=30)
        try:
            for answer in call:
                if answer.error_message:
                    raise WrongError(f"the stream ended with an error: {answer.error_message}")
                yield _outputs(answer.infer_response)
        finally:
            call.cancel()

    def close(self) -> None:
        """Hangs up."""
        self._channel.close()


def _datatype(array: Array) -> str:
    return "BYTES" if array.dtype.kind == "U" else _NAMES[str(array.dtype)]


def _encoded(question: Question) -> tuple[bytes, dict[str, str]]:
    entries, tail = [], b""
    for name, array in question.inputs.items():
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": _datatype(array)}
        if question.form == "binary":
            raw = array.tobytes()
            tail += raw
            entry["parameters"] = {"binary_data_size": len(raw)}
        else:
            entry["data"] = array.ravel().tolist()
        entries.append(entry)
    message: dict[str, Any] = {"inputs": entries, "parameters": dict(question.parameters)}
    if question.form == "binary":
        message["parameters"]["binary_data_output"] = True
    head = json.dumps(message).encode()
    if question.form == "gzip":
        coding = {"Content-Type": "application/json", "Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
        return gzip.compress(head), coding
    if question.form == "json":
        return head, {"Content-Type": "application/json"}
    return head + tail, {"Content-Type": "application/octet-stream", _LENGTH: str(len(head))}


def _decoded(content: bytes, length: str | None) -> dict[str, Array]:
    head = int(length) if length else len(content)
    at, found = head, {}
    for output in json.loads(content[:head])["outputs"]:
        kind = _TYPES[output["datatype"]]
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            array: Array = np.array(output["data"], dtype=kind)
        else:
            array = np.frombuffer(content[at : at + size], dtype=kind)
            at += size
        found[output["name"]] = array.reshape(output["shape"])
    return found


def _message(question: Question) -> Any:
    message = service_pb2.ModelInferRequest(model_name=question.model)
    for name, array in question.inputs.items():
        message.inputs.add(name=name, datatype=_datatype(array), shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    for name, value in question.parameters.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(message.parameters[name], kind, value)
    return message


def _outputs(answer: Any) -> dict[str, Array]:
    raws = zip(answer.outputs, answer.raw_output_contents, strict=True)
    return {output.name: np.frombuffer(raw, _TYPES[output.datatype]).reshape(output.shape) for output, raw in raws}


def _headers(*metadata: Any) -> dict[str, str]:
    pairs = ((name, value) for each in metadata for name, value in each or ())
    return {name: value if isinstance(value, str) else value.decode("utf-8", "replace") for name, value in pairs}
