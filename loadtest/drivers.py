"""Sends the load with wrk and h2load, and asks single questions to see that the answers are right before anything is counted."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import traffic
from loadtest.backend import CONFIGURATIONS, tool
from loadtest.processes import StartError

INFER_METHOD = "/inference.GRPCInferenceService/ModelInfer"
Headers = Sequence[tuple[str, str]]


class WrongAnswerError(Exception):
    """What came back is not what the fixed backend says; the text tells what it was."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a driver did: requests answered, how many of them badly or not at all, and in what time."""

    requests: int
    errors: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Client:
    """How the load side runs: on which cores, with how many requests in flight, with files in which folder."""

    cores: Collection[int]
    connections: int
    folder: Path

    def run(self, command: Sequence[str], seconds: float, environment: dict[str, str] | None = None) -> str:
        """Run a load program to its end; what it printed. Raises StartError when it fails."""
        pinned = [tool("taskset", "util-linux"), "-c", ",".join(map(str, self.cores)), *command]
        done = subprocess.run(
            pinned, capture_output=True, text=True, timeout=seconds + 30, env={**os.environ, **(environment or {})}
        )
        if done.returncode != 0:
            raise StartError(f"{command[0]} failed: {(done.stdout + done.stderr).strip()[-600:]}")
        return done.stdout


def check_http(port: int, question: traffic.Question, headers: Headers) -> None:
    """Ask once. Raises WrongAnswerError unless the answer is 200 and holds the right label for every row, in order."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", question.path, question.message.body, dict((*question.message.headers, *headers)))
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise WrongAnswerError(f"{question.name}: status {response.status}: {body[:300].decode(errors='replace')}")
        labels = traffic.labels_in(traffic.Message(tuple(response.getheaders()), body))
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise WrongAnswerError(f"{question.name}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if labels != question.labels:
        raise WrongAnswerError(f"{question.name}: labels {labels} instead of {question.labels}")


def check_grpc(port: int, frame: bytes, headers: Headers) -> int:
    """Ask once over gRPC; returns the bytes of an answer's frame. Raises WrongAnswerError unless the labels are right."""
    import grpc
    from tritonclient.grpc import service_pb2

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(INFER_METHOD)
        try:
            raw = infer(frame[5:], metadata=tuple((name.lower(), value) for name, value in headers), timeout=10)
        except grpc.RpcError as error:
            raise WrongAnswerError(f"grpc: {error}") from error
    answer = service_pb2.ModelInferResponse.FromString(raw)
    names = [output.name for output in answer.outputs]
    if names != ["probabilities", "label"] or len(answer.raw_output_contents) != 2:
        raise WrongAnswerError(f"grpc: outputs {names} with {len(answer.raw_output_contents)} raw contents")
    labels = tuple(
        int.from_bytes(answer.raw_output_contents[1][start : start + 8], "little", signed=True)
        for start in range(0, len(answer.raw_output_contents[1]), 8)
    )
    if labels != traffic.question("1k").labels:
        raise WrongAnswerError(f"grpc: labels {labels}")
    return len(raw) + 5


def wrk(client: Client, port: int, question: traffic.Question, headers: Headers, seconds: float) -> Load:
    """Closed loop over keep-alive HTTP/1.1: each connection sends its next request when the last one is answered."""
    body = client.folder / f"{question.name}.body"
    body.write_bytes(question.message.body)
    named = [part for name, value in (*question.message.headers, *headers) for part in ("-H", f"{name}: {value}")]
    options = ["-t", "1", "-c", str(client.connections), "-d", f"{max(1, round(seconds))}s", *named]
    script = str(CONFIGURATIONS / "infer.lua")
    command = [tool("wrk", "wrk"), *options, "-s", script, f"http://127.0.0.1:{port}{question.path}"]
    unique = {"LOADTEST_UNIQUE": secrets.token_hex(4)} if question.unique else {}
    return parse_wrk(client.run(command, seconds, {"LOADTEST_BODY": str(body), **unique}))


def parse_wrk(output: str) -> Load:
    """The line infer.lua prints."""
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise StartError(f"wrk printed no result: {output.strip()[-600:]}")
    result = json.loads(line.removeprefix("RESULT "))
    return Load(result["requests"], result["errors"], result["microseconds"] / 1e6)


def h2load(client: Client, port: int, answer_bytes: int, headers: Headers, seconds: float) -> Load:
    """Closed loop of gRPC calls on two HTTP/2 connections, as many in flight as wrk has."""
    body = client.folder / "grpc.body"
    body.write_bytes(traffic.grpc_frame())
    sent = [("content-type", "application/grpc"), ("te", "trailers"), *((name.lower(), value) for name, value in headers)]
    named = [part for name, value in sent for part in ("-H", f"{name}: {value}")]
    streams = max(1, client.connections // 2)
    options = ["-t", "1", "-c", "2", "-m", str(streams), "-D", str(max(1, round(seconds))), "-d", str(body), *named]
    output = client.run([tool("h2load", "nghttp2-client"), *options, f"http://127.0.0.1:{port}{INFER_METHOD}"], seconds)
    return parse_h2load(output, answer_bytes, seconds)


def parse_h2load(output: str, answer_bytes: int, seconds: float) -> Load:
    """h2load's summary. A gRPC error is a 200 without a message, so errors are the answers whose bytes are missing."""
    requests = re.search(r"requests: .*?(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    body_bytes = re.search(r"traffic: .*\((\d+)\) data", output)
    if requests is None or body_bytes is None:
        raise StartError(f"h2load printed no result: {output.strip()[-600:]}")
    succeeded, failed, _, timed_out = (int(text) for text in requests.groups())  # "failed" counts errored and timeout in
    empty = max(0, succeeded - int(body_bytes[1]) // answer_bytes)
    return Load(succeeded, empty + max(failed, timed_out), seconds)
