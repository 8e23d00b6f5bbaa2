"""Clients that ask `simple` over and over while a test breaks something, and remember every answer."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.real_parts import GatewayProcess

ROW = list(range(16))
BODY = json.dumps(
    {"inputs": [{"name": name, "datatype": "INT32", "shape": [1, 16], "data": ROW} for name in ("INPUT0", "INPUT1")]}
).encode()
SUM = [2 * value for value in ROW]


@dataclass(frozen=True)
class Told:
    """One answer: `status` as the dialect has it, seconds it took, headers, and the sum if it is one."""

    status: str
    seconds: float
    headers: Mapping[str, str]
    error: str = ""
    right: bool = False


Ask = Callable[[Mapping[str, str]], Told]


def over_http(gateway: GatewayProcess) -> tuple[Ask, Callable[[], None]]:
    """Asks over one connection that is kept alive, and opened anew where the other side closed it; and the way to end it."""
    connection = http.client.HTTPConnection(gateway.http, timeout=20)

    def ask(headers: Mapping[str, str]) -> Told:
        begin = time.monotonic()
        connection.request("POST", "/v2/models/simple/infer", BODY, {**gateway.credential, **headers})
        answer = connection.getresponse()
        message = json.loads(answer.read())
        found = {name.lower(): value for name, value in answer.getheaders()}
        right = answer.status == 200 and message["outputs"][0]["data"] == SUM
        return Told(str(answer.status), time.monotonic() - begin, found, message.get("error", ""), right)

    return ask, connection.close


def over_grpc(gateway: GatewayProcess) -> tuple[Ask, Callable[[], None]]:
    """The same over gRPC."""
    channel = grpc.insecure_channel(gateway.grpc)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    request = service_pb2.ModelInferRequest(model_name="simple")
    for name in ("INPUT0", "INPUT1"):
        request.inputs.add(name=name, datatype="INT32", shape=[1, 16]).contents.int_contents.extend(ROW)

    def ask(headers: Mapping[str, str]) -> Told:
        begin = time.monotonic()
        try:
            answer, call = stub.ModelInfer.with_call(
                request, timeout=20, metadata=(*gateway.credential.items(), *headers.items())
            )
        except grpc.RpcError as error:
            sent: Any = error.trailing_metadata() or ()
            trailers = {name: str(value) for name, value in sent}
            return Told(error.code().name, time.monotonic() - begin, trailers, error.details() or "")
        right = answer.raw_output_contents[0] == b"".join(value.to_bytes(4, "little") for value in SUM)
        return Told("200", time.monotonic() - begin, dict(call.initial_metadata()), right=right)

    return ask, channel.close


FRONTS: dict[str, Callable[[GatewayProcess], tuple[Ask, Callable[[], None]]]] = {"http": over_http, "grpc": over_grpc}


@contextmanager
def asking(gateway: GatewayProcess, front: str) -> Iterator[Ask]:
    """One client, for questions one by one."""
    ask, close = FRONTS[front](gateway)
    try:
        yield ask
    finally:
        close()


@dataclass
class Traffic:
    """What several clients have been told so far, in the order of its coming."""

    told: list[Told] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def statuses(self, since: int = 0) -> set[str]:
        """All different statuses from that answer on."""
        return {each.status for each in self.told[since:]}

    def ask(self, ask: Ask) -> None:
        """Asks until told to end."""
        while not self._over.is_set():
            try:
                self.told.append(ask({}))
            except (OSError, http.client.HTTPException) as error:  # a connection that ended without an answer
                self.failed.append(error)

    def end(self) -> None:
        """No more questions."""
        self._over.set()


@contextmanager
def traffic(gateway: GatewayProcess, fronts: tuple[str, ...] = ("http", "http", "grpc", "grpc")) -> Iterator[Traffic]:
    """Lets that many clients ask while the block lasts; all have ended after it."""
    running = Traffic()
    clients: list[Any] = [FRONTS[front](gateway) for front in fronts]
    threads = [threading.Thread(target=running.ask, args=(ask,)) for ask, _ in clients]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running.end()
        for thread, (_, close) in zip(threads, clients, strict=True):
            thread.join()
            close()
