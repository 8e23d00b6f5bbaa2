"""A gateway whose policy is changed while clients ask, and what each version of it must say."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.configuration.load import version
from tests.faults.crew import ASKED, Asked, Server
from tests.real_parts import PENSTOCK, ROOT, GatewayProcess, start_gateway

Words = tuple[str, str, str]  # route, variant and cost, as the headers tell them


class Counting(Asked):
    disable_nagle_algorithm = True  # else an answer's body waits 40 ms for the acknowledgement of its head

    def setup(self) -> None:
        """One connection more."""
        super().setup()
        self.server.connections += 1  # type: ignore[attr-defined]


class Backend(Server):
    """A backend that counts the connections it was ever asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = Counting
        self.connections = 0


@contextlib.contextmanager
def backend() -> Iterator[Backend]:
    """One, while the block lasts."""
    server = Backend()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def document(name: str, kept: Backend, changed: Backend, cost: int) -> str:
    """A policy whose route, variant and cost are its own. `kept` is one cluster in all of them, `changed` each one's own."""

    def model(cluster: str) -> dict[str, Any]:
        variants = {f"variant-{name}": {"backend": cluster, "model": "x", "cost": cost}}
        return {"timeout": "20s", "variants": variants, "routes": [{"name": f"route-{name}", "use": f"variant-{name}"}]}

    backends = {
        "kept": {"protocol": "triton-http", "endpoints": [f"127.0.0.1:{kept.server_port}"]},
        "changed": {
            "protocol": "triton-http",
            "endpoints": [f"127.0.0.1:{changed.server_port}"],
            "max_in_flight": 100 + cost,
        },
    }
    return json.dumps({"version": 1, "backends": backends, "models": {"m": model("kept"), "n": model("changed")}})


def words(name: str, cost: int) -> Words:
    """What every answer under that policy says."""
    return f"route-{name}", f"variant-{name}", str(cost)


@dataclass
class Place:
    """A running gateway, its operator's key, and the file that its policy is in."""

    gateway: GatewayProcess
    operator: str
    file: Path

    def api(self, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON of an API call."""
        connection = http.client.HTTPConnection(self.gateway.admin, timeout=30)
        try:
            headers = {"X-API-Key": self.operator if key is None else key}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def kept(self) -> list[str]:
        """The versions of the history, the newest first."""
        return [each["version"] for each in self.api("GET", "/api/policy/history")[1]["versions"]]

    def rename(self, text: str) -> None:
        """Puts the text into the file as careful programs do."""
        replace(self.file, text)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`penstock policy …` with the operator's key."""
        told = [*PENSTOCK, "policy", *arguments, "--admin", f"http://{self.gateway.admin}"]
        environment = {**os.environ, "PENSTOCK_API_KEY": self.operator}
        return subprocess.run(told, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def replace(file: Path, text: str) -> None:
    """Writes beside it and renames."""
    made = file.with_name("made")
    made.write_text(text)
    made.replace(file)


def start(folder: Path, text: str, workers: int = 1, **settings: Any) -> Place:
    """A gateway under this policy, with `state` in the folder."""
    who = ["--subject", "alice", "--scope", "models:admin", "--file", str(folder / "api-keys.yaml")]
    made = subprocess.run([*PENSTOCK, "keys", "new", *who], cwd=ROOT, check=True, capture_output=True, text=True)
    given = {"workers": workers, "state": str(folder / "state"), "telemetry": {"access_log": "off"}, **settings}
    gateway = start_gateway(folder, json.loads(text), settings=given)
    return Place(gateway, made.stdout.strip(), folder / "policy.yaml")


@dataclass
class Clients:
    """Two that keep one HTTP connection and two that keep one gRPC channel. `wrong` are answers that cannot be."""

    gateway: GatewayProcess
    expected: dict[str, Words]
    answers: int = 0
    seen: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def judge(self, status: str, told: dict[str, str]) -> None:
        """Notes one answer."""
        said = (told.get("x-penstock-route", ""), told.get("x-penstock-variant", ""), told.get("x-penstock-cost", ""))
        policy = told.get("x-penstock-policy", "")
        if status != "200" or self.expected.get(policy) != said:
            self.wrong.append(f"{status} {policy} {said}")
        self.answers += 1
        self.seen.add(policy)

    def over_http(self) -> None:
        """Asks until told to end, over one connection."""
        connection = http.client.HTTPConnection(self.gateway.http, timeout=20)
        connection.connect()
        kept = connection.sock
        while not self.over.is_set():
            for model in "mn":
                connection.request("POST", f"/v2/models/{model}/infer", ASKED, self.gateway.credential)
                answer = connection.getresponse()
                answer.read()
                self.judge(str(answer.status), {name.lower(): value for name, value in answer.getheaders()})
        if connection.sock is not kept:
            self.wrong.append("the connection was not kept")
        connection.close()

    def over_grpc(self) -> None:
        """The same over gRPC."""
        requests = [service_pb2.ModelInferRequest(model_name=model) for model in "mn"]
        for request in requests:
            request.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1)
        with grpc.insecure_channel(self.gateway.grpc, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not self.over.is_set():
                for request in requests:
                    try:
                        _, call = stub.ModelInfer.with_call(request, timeout=20, metadata=list(self.gateway.credential.items()))
                    except grpc.RpcError as error:
                        self.wrong.append(str(error))
                    else:
                        self.judge("200", dict(call.initial_metadata()))


@contextlib.contextmanager
def clients(gateway: GatewayProcess, expected: dict[str, Words]) -> Iterator[Clients]:
    """They ask while the block lasts."""
    made = Clients(gateway, expected)
    threads = [threading.Thread(target=ask) for ask in (made.over_http, made.over_http, made.over_grpc, made.over_grpc)]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.over.set()
        for thread in threads:
            thread.join()


def named(text: str) -> str:
    """The version of a policy."""
    return version(text.encode())
