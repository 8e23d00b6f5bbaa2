"""The demo's client says what it means on the wire, and reads what any server of the protocol says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.demo.client import BACK, FORMS, Form, GrpcClient, HttpClient, Question, Tally
from gateway.demo.expect import WrongError

IMAGE = np.array([[0.5, 0.25]], dtype=np.float32)


class Echo(BaseHTTPRequestHandler):
    """Tells what it was asked in an error, or answers in binary when asked in binary."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "Inference-Header-Content-Length" not in self.headers:
            told = {"coding": self.headers.get("Content-Encoding"), "body": body.hex(), "path": self.path}
            self.answer(400, json.dumps({"error": json.dumps(told)}).encode())
            return
        tail = body[int(self.headers["Inference-Header-Content-Length"]) :]
        size = {"binary_data_size": len(tail)}
        output = {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "parameters": size}
        label = {"name": "label", "datatype": "INT64", "shape": [1, 1], "data": [7]}
        head = json.dumps({"outputs": [output, label]}).encode()
        self.answer(200, head + tail, ("Inference-Header-Content-Length", str(len(head))))

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (
            *headers,
            ("X-Penstock-Variant", "fast"),
            ("X-Penstock-Cost", "7"),
            ("Content-Length", str(len(body))),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


class Answering(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Echoes one tensor; a stream gives it twice and then an error."""

    def ModelInfer(self, request: Any, call: Any) -> Any:  # noqa: N802  the protocol's name
        if request.model_name == "nobody":
            call.abort(grpc.StatusCode.NOT_FOUND, "unknown model")
        call.send_initial_metadata((("x-penstock-variant", "fast"),))
        answer = service_pb2.ModelInferResponse(raw_output_contents=request.raw_input_contents)
        answer.outputs.add(name="label", datatype="INT64", shape=[1])
        return answer

    def ModelStreamInfer(self, requests: Any, call: Any) -> Any:  # noqa: N802
        for request in requests:
            answer = self.ModelInfer(request, call)
            yield service_pb2.ModelStreamInferResponse(infer_response=answer)
            yield service_pb2.ModelStreamInferResponse(infer_response=answer)
            yield service_pb2.ModelStreamInferResponse(error_message="enough")


@contextmanager
def serving(handler: type[Echo]) -> Iterator[str]:
    """Its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def http_address() -> Iterator[str]:
    """A server of the first class above."""
    with serving(Echo) as address:
        yield address


@pytest.fixture
def grpc_address() -> Iterator[str]:
    """The same over gRPC."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Answering(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_binary_goes_and_comes_bit_for_bit(http_address: str) -> None:
    """Outputs may be binary or JSON in one answer; headers have lower-case names."""
    client, tally = HttpClient(http_address, seen := Tally()), seen
    reply = client.ask(Question("digits", {"image": IMAGE}))
    client.close()
    assert (200, IMAGE.tobytes(), [7]) == (reply.status, reply.outputs["probabilities"].tobytes(), reply.labels)
    assert ("fast", 7.0, 1) == (reply.variant, reply.cost, tally.sent)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "binary"])
def test_json_and_gzip_say_so(http_address: str, form: Form) -> None:
    """An error's text is the body's own."""
    client = HttpClient(http_address, Tally())
    reply = client.ask(Question("digits", {"image": IMAGE}, form=form))
    client.close()
    told = json.loads(reply.error)
    assert (400, "/v2/models/digits/infer") == (reply.status, told["path"])
    assert ("gzip" if form == "gzip" else None) == told["coding"]
    assert bytes.fromhex(told["body"]).startswith(b"\x1f\x8b" if form == "gzip" else b'{"inputs"')


@pytest.mark.parametrize(("busy", "status"), [(BACK, 200), (BACK + 1, 503)])
def test_who_finds_no_room_comes_back_when_told_to(busy: int, status: int) -> None:
    """As often as a client with some patience does, and is counted each time."""
    left = iter(range(busy))

    class Busy(Echo):
        def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
            if next(left, None) is None:
                super().answer(status, body, *headers)
            else:
                super().answer(503, b'{"error": "no room"}', ("Retry-After", "0"))

    with serving(Busy) as address:
        client = HttpClient(address, tally := Tally())
        assert status == client.ask(Question("digits", {"image": IMAGE})).status
        client.close()
    assert BACK + 1 == tally.sent


def test_nobody_there_is_wrong() -> None:
    """The demo says so, and does not end in a traceback."""
    with pytest.raises(WrongError, match="expected an answer to POST"):
        HttpClient("127.0.0.1:1", Tally()).ask(Question("digits", {"image": IMAGE}))


def test_grpc_says_the_same(grpc_address: str) -> None:
    """Metadata are headers; a refusal has its status word and text."""
    client = GrpcClient(grpc_address, Tally())
    label = {"label": np.array([3], dtype=np.int64)}
    reply = client.ask(Question("digits", label, parameters={"preview": True, "name": "x", "count": 1}))
    refused = client.ask(Question("nobody", label))
    client.close()
    assert ("OK", "fast", [3]) == (reply.status, reply.variant, reply.labels)
    assert ("NOT_FOUND", "unknown model") == (refused.status, refused.error)


def test_a_stream_gives_answers_as_they_come_and_its_error_at_last(grpc_address: str) -> None:
    """Each answer is there before the next."""
    client = GrpcClient(grpc_address, Tally())
    answers = client.stream(Question("digits", {"label": np.array([3], dtype=np.int64)}))
    assert [3, 3] == [int(next(answers)["label"][0]) for _ in range(2)]
    with pytest.raises(WrongError, match="enough"):
        next(answers)
    client.close()
