"""The fixed questions that are asked and the fixed answers the backend gives, in Open Inference Protocol terms."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

FEATURES = 64
CLASSES = 10
ROWS = {"1k": 4, "150k": 600, "1m": 21_800}  # 256 bytes of question and 48 of answer each; "1m" is 1 MB of answer
CASCADE_ROWS = 32
UNSURE_ROWS = (5, 17, 30)
ACCEPT = 0.92
BINARY = "application/octet-stream"
JSON = "application/json"
LENGTH_HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class Message:
    """An HTTP body with the headers that describe it."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """One kind of request: where it goes, what it carries and which labels a right answer to it holds.

    `unique`: under load the last bytes of its tensors are others each time.
    """

    name: str
    path: str
    message: Message
    labels: tuple[int, ...]
    unique: bool = False


def label_of(row: int) -> int:
    """The class every answer gives to this row."""
    return row % CLASSES


def _pixels(rows: int) -> list[float]:
    # Like scikit-learn's digits: sixteenths, which are short in JSON and exact in FP32.
    return [(7 * index % 17) / 16 for index in range(rows * FEATURES)]


def _probabilities(rows: Sequence[int], unsure: Sequence[int]) -> list[float]:
    values: list[float] = []
    for row in rows:
        top = 0.55 if row in unsure else 0.982
        rest = (1.0 - top) / (CLASSES - 1)
        values.extend(top if column == label_of(row) else rest for column in range(CLASSES))
    return values


def _binary(header: Mapping[str, object], parts: Sequence[bytes]) -> Message:
    text = json.dumps(header, separators=(",", ":")).encode()
    return Message((("Content-Type", BINARY), (LENGTH_HEADER, str(len(text)))), text + b"".join(parts))


def binary_request(rows: int, alike: bool = True) -> Message:
    """Digits images as one FP32 tensor of 256 bytes a row, asking for binary outputs; no two rows the same unless `alike`."""
    pixels = _pixels(rows) if alike else [index / 16 for index in range(rows * FEATURES)]
    raw = struct.pack(f"<{rows * FEATURES}f", *pixels)
    image = {"name": "image", "datatype": "FP32", "shape": [rows, FEATURES], "parameters": {"binary_data_size": len(raw)}}
    return _binary({"inputs": [image], "parameters": {"binary_data_output": True}}, [raw])


def json_request(rows: int) -> Message:
    """The same images written as JSON numbers."""
    image = {"name": "image", "datatype": "FP32", "shape": [rows, FEATURES], "data": _pixels(rows)}
    return Message((("Content-Type", JSON),), json.dumps({"inputs": [image]}, separators=(",", ":")).encode())


def binary_answer(model: str, rows: Sequence[int], unsure: Sequence[int] = ()) -> Message:
    """Probabilities and labels of these rows in binary; the rows in `unsure` are below the cascade's threshold."""
    probabilities = struct.pack(f"<{len(rows) * CLASSES}f", *_probabilities(rows, unsure))
    labels = struct.pack(f"<{len(rows)}q", *(label_of(row) for row in rows))
    outputs = [
        {**spec, "parameters": {"binary_data_size": len(raw)}}
        for spec, raw in zip(_output_specs(len(rows)), (probabilities, labels), strict=True)
    ]
    return _binary({"model_name": model, "model_version": "1", "outputs": outputs}, [probabilities, labels])


def json_answer(model: str, rows: Sequence[int]) -> Message:
    """The same as JSON numbers."""
    values: tuple[list[float], list[int]] = (_probabilities(rows, ()), [label_of(row) for row in rows])
    outputs = [{**spec, "data": data} for spec, data in zip(_output_specs(len(rows)), values, strict=True)]
    body = {"model_name": model, "model_version": "1", "outputs": outputs}
    return Message((("Content-Type", JSON),), json.dumps(body, separators=(",", ":")).encode())


def _output_specs(rows: int) -> list[dict[str, object]]:
    return [
        {"name": "probabilities", "datatype": "FP32", "shape": [rows, CLASSES]},
        {"name": "label", "datatype": "INT64", "shape": [rows, 1]},
    ]


def labels_in(message: Message) -> tuple[int, ...]:
    """The labels an answer holds, JSON or binary. Raises ValueError or KeyError when it is no such answer."""
    length = {name.lower(): value for name, value in message.headers}.get(LENGTH_HEADER.lower())
    header = json.loads(message.body[: int(length)] if length else message.body)
    offset = int(length or 0)
    for output in header["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        raw = message.body[offset : offset + (size or 0)]
        offset += size or 0
        if output["name"] == "label":
            return tuple(output["data"]) if size is None else struct.unpack(f"<{size // 8}q", raw)
    raise ValueError("the answer has no output called label")


def answers() -> dict[str, Message]:
    """What the backend says to an infer of each model, whatever it is asked."""
    sized = {f"digits_{size}": binary_answer(f"digits_{size}", range(rows)) for size, rows in ROWS.items()}
    return sized | {
        "digits_json": json_answer("digits_json", range(2)),
        "digits_fast": binary_answer("digits_fast", range(CASCADE_ROWS), UNSURE_ROWS),
        "digits_accurate": binary_answer("digits_accurate", UNSURE_ROWS),
    }


def question(name: str) -> Question:
    """The traffic of one table row.

    `1k`, `150k` (bytes of tensor asked), `1m` (bytes of answer; asked with one row) · `json` (about 1 KB of text, answered in
    text) · `cascade` (32 rows) · `rows` (32 rows, each unlike the others) · `unique` (`1k`, each request unlike the others).
    """
    match name:
        case "1k" | "150k":
            return _question(name, f"digits_{name}", binary_request(ROWS[name]), ROWS[name])
        case "1m":
            return _question(name, "digits_1m", binary_request(1), ROWS[name])
        case "json":
            return _question(name, "digits_json", json_request(2), 2)
        case "cascade":
            return _question(name, "digits_cascade", binary_request(CASCADE_ROWS), CASCADE_ROWS)
        case "rows":
            return _question(name, "digits_rows", binary_request(CASCADE_ROWS, alike=False), CASCADE_ROWS)
        case "unique":
            return replace(_question(name, "digits_1k", binary_request(ROWS["1k"]), ROWS["1k"]), unique=True)
    raise ValueError(f"no traffic is called {name!r}: 1k, 150k, 1m, json, cascade, rows or unique")


def _question(name: str, model: str, message: Message, rows: int) -> Question:
    return Question(name, f"/v2/models/{model}/infer", message, tuple(label_of(row) for row in range(rows)))


def grpc_frame() -> bytes:
    """The `1k` question as one length-prefixed ModelInferRequest, for h2load to send as a gRPC body."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(
        model_name="digits_1k",
        inputs=[{"name": "image", "datatype": "FP32", "shape": [ROWS["1k"], FEATURES]}],
        raw_input_contents=[struct.pack(f"<{ROWS['1k'] * FEATURES}f", *_pixels(ROWS["1k"]))],
    )
    message: bytes = request.SerializeToString()
    return struct.pack(">BI", 0, len(message)) + message
