"""A small Open Inference Protocol server over a real socket: answers as it is told, and keeps every byte it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DTYPES = {"FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
DIGITS = {"digits_fast": 100, "digits_balanced": 200, "digits_accurate": 300}  # a model's labels begin there
INPUTS = {**{name: [("image", "FP32", [-1, 4])] for name in DIGITS}, "simple": [(f"INPUT{i}", "INT32", [-1, 16]) for i in (0, 1)]}
MAX_BATCH = 64


@dataclass(frozen=True)
class Received:
    """One request as it came: header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def model(self) -> str:
        return self.path.split("/")[3]

    @property
    def version(self) -> str:
        return self.path.split("/")[5] if "/versions/" in self.path else ""

    @property
    def head(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body[: self._head_length])

    @property
    def tail(self) -> bytes:
        """The bytes behind the JSON."""
        return self.body[self._head_length :]

    @property
    def _head_length(self) -> int:
        return int(self.headers.get("inference-header-content-length", len(self.body)))

    def inputs(self) -> dict[str, Any]:
        """Every input as an array."""
        at = self._head_length
        found = {}
        for entry in self.head["inputs"]:
            dtype = DTYPES[entry["datatype"]]
            if "data" in entry:
                array = np.array(entry["data"], dtype)
            else:
                size = entry["parameters"]["binary_data_size"]
                array = np.frombuffer(self.body[at : at + size], dtype)
                at += size
            found[entry["name"]] = array.reshape(entry["shape"])
        return found

    @property
    def rows(self) -> list[int]:
        """The rows that a digits model is asked about, by their numbers."""
        return [int(number) for number in self.inputs()["image"][:, 0]]


# Done instead of answering; the connection is closed after it, unless it says True.
Script = Callable[[Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool | None]]


class Waiting:
    """A script that keeps its client waiting until it leaves; `go` lets the server answer after all."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.go = asyncio.Event()
        self.confidence: dict[int, float] = {}

    async def __call__(self, asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.entered.set()
        ends = [asyncio.ensure_future(reader.read(1)), asyncio.ensure_future(self.go.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ends:
                each.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        if self.go.is_set():
            writer.write(written(200, *answered(asked, self.confidence)))
        else:
            self.left.set()


def saying(*pieces: bytes) -> Script:
    """A script that sends these bytes and closes the connection."""

    async def script(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.writelines(pieces)
        await writer.drain()

    return script


def failing(status: int, text: str = "no", body: bytes | None = None) -> Script:
    """A script that answers with an error object, or with this body."""
    return saying(written(status, json.dumps({"error": text}).encode() if body is None else body, {}))


async def resetting(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A script that drops the connection."""
    writer.transport.abort()


class Server:
    """Knows the models of DIGITS, `simple` (sum and difference) and `echo` (gives its inputs back).

    A digits model is 0.99 sure of a row, or as sure as `confidence[model][row]` says; its label is the row's number
    above DIGITS[model]. `scripts[model]` is done instead of answering, once for each ask.
    """

    def __init__(self) -> None:
        self.port = 0
        self.received: list[Received] = []
        self.confidence: dict[str, dict[int, float]] = {}
        self.scripts: dict[str, Script] = {}
        self.ready = True
        self.versions = ["1", "2"]
        self.connections = 0
        self._server: asyncio.Server

    @property
    def asked(self) -> list[Received]:
        """The requests for inference."""
        return [each for each in self.received if each.path.endswith("/infer")]

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, path, _ = lines[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        asked = Received(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
        self.received.append(asked)
        script = self.scripts.get(asked.model) if path.endswith("/infer") else None
        if script is not None:
            return bool(await script(asked, reader, writer))
        writer.write(self._answer(asked))
        return True

    def _answer(self, asked: Received) -> bytes:
        if asked.path.startswith("/v2/health/"):
            return written(200 if self.ready else 503, b"", {})
        if (asked.model not in INPUTS and asked.model != "echo") or asked.version not in ("", "1", "2"):
            return written(404, json.dumps({"error": f"Request for unknown model: '{asked.model}'"}).encode(), {})
        if asked.path.endswith("/infer"):
            return written(200, *answered(asked, self.confidence.get(asked.model, {})))
        if asked.path.endswith("/ready"):
            return written(200 if self.ready else 400, b"", {})
        return written(*self._described(asked))

    def _described(self, asked: Received) -> tuple[int, bytes, dict[str, str]]:
        name, version = asked.model, asked.version or "1"
        inputs = [{"name": each, "datatype": datatype, "shape": shape} for each, datatype, shape in INPUTS.get(name, ())]
        if name == "echo" and not asked.path.endswith("/stats"):
            return 404, b'{"error":"not described"}', {}
        if asked.path.endswith("/config"):
            found: Any = {"name": name, "platform": "python", "max_batch_size": MAX_BATCH, "input": []}
        elif asked.path.endswith("/stats"):
            found = {"model_stats": [{"name": name, "version": version, "inference_count": len(self.asked)}]}
        else:
            found = {"name": name, "versions": self.versions, "platform": "python", "inputs": inputs, "outputs": []}
        return 200, json.dumps(found).encode(), {"Content-Type": "application/json"}


def answered(asked: Received, confidence: Mapping[int, float]) -> tuple[bytes, dict[str, str]]:
    """The model's answer: each output in JSON or in binary, as asked."""
    message, wanted = asked.head, {}
    always = message.get("parameters", {}).get("binary_data_output", False)
    for entry in message.get("outputs", ()):
        wanted[entry["name"]] = entry.get("parameters", {}).get("binary_data", False)
    entries, tail = [], b""
    for name, array in _outputs(asked, confidence).items():
        if wanted and name not in wanted:
            continue
        datatype = next(datatype for datatype, dtype in DTYPES.items() if np.dtype(dtype) == array.dtype)
        told: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if wanted.get(name, always):
            told["parameters"] = {"binary_data_size": array.nbytes}
            tail += array.tobytes()
        else:
            told["data"] = array.ravel().tolist()
        entries.append(told)
    named = {"id": message["id"]} if "id" in message else {}
    whole = {**named, "model_name": asked.model, "model_version": asked.version or "1", "outputs": entries}
    head = json.dumps(whole, separators=(",", ":")).encode()
    if not tail:
        return head, {"Content-Type": "application/json"}
    return head + tail, {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}


def _outputs(asked: Received, confidence: Mapping[int, float]) -> dict[str, Any]:
    inputs = asked.inputs()
    if asked.model == "echo":
        return inputs
    if asked.model == "simple":
        return {"OUTPUT0": inputs["INPUT0"] + inputs["INPUT1"], "OUTPUT1": inputs["INPUT0"] - inputs["INPUT1"]}
    rows = asked.rows
    probabilities = np.zeros((len(rows), 10), "<f4")
    for index, row in enumerate(rows):
        probabilities[index] = (1 - confidence.get(row, 0.99)) / 9
        probabilities[index, row % 10] = confidence.get(row, 0.99)
    return {"probabilities": probabilities, "label": np.array([[DIGITS[asked.model] + row] for row in rows], "<i8")}


def written(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    """One answer's bytes."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
