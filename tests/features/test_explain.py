"""What `penstock policy explain` says of a request is what the gateway does with it."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from gateway.auth.api_keys import entry_of, new_key
from gateway.auth.principals import principal_of
from gateway.cli.keys import append
from gateway.configuration.load import load_policy, version
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_tests import Caller, Request
from gateway.configuration.tables import route_tables
from gateway.review.decision import Decider
from gateway.review.explain import Course, Explanation, explain
from tests.features.conftest import Reply, framed
from tests.features.oip_server import Received, written

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

SEED = 20
MODELS = 60
REQUESTS = 10_000
BY_GRPC = 1_000
CLIENTS = 8
SURE = 0.5  # every variant is that sure of every row
LIMITS = 12
VARIANTS = {"a": 1.0, "b": 6.0, "c": 40.0}
TENANTS, TIERS, WORDS = ["", "acme", "bigco", "small"], ["", "free", "gold"], ["1", "2", "long-word"]
SCOPES = ["models:admin", "models:infer:m0"]  # beside the one that everybody needs
ODD = {"x-priority": "high", "x-request-timeout-ms": "soon", "x-model-version": "4"}
UNITS = ["tenant", "subject", "request", "header:x-user"]
PARAMETERS: list[Any] = [True, False, 1, 2.5, "1", "x"]
_ROUTE = re.compile(r"models\.(m\d+)\.routes\[(\d+)\].*")
VERSIONS = ["1", "2", "3", "01", "latest"]


class Author:
    """Writes policies that could be anybody's."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def model(self) -> dict[str, Any]:
        """A model whose routes can all be reached."""
        pinned = self.chance.choice(["", "1", "2"])
        variants = {
            name: {"backend": "triton", "model": f"served_{name}", "cost": cost}
            | ({"version": pinned} if pinned and name == "b" else {})
            for name, cost in VARIANTS.items()
        }
        routes = [{"name": f"r{at}", "match": self.match(), **self.action()} for at in range(self.chance.randint(2, 9))]
        found = {"variants": variants, "routes": [*routes, {"name": "default", **self.action()}]}
        if self.chance.random() < 0.3:
            found["fallback"] = {"a": "b"}
        if self.chance.random() < 0.3:
            found["version_policy"] = self.chance.choice(["all", "specific(1, 2)"])
        return found

    def match(self, depth: int = 0) -> dict[str, Any]:
        """One to three conditions; some with others in them."""
        makers: dict[str, Callable[[], Any]] = {
            "tenant": lambda: self.some(TENANTS[1:]),
            "tier": lambda: self.some(TIERS[1:]),
            "scope": lambda: self.some(SCOPES),
            "version": lambda: self.some(["1", "2"]),
            "header": lambda: {self.chance.choice(["x-a", "X-B"]): self.chance.choice(WORDS)},
            "parameter": lambda: {"p": self.chance.choice(PARAMETERS)},
            "rows": lambda: self.chance.choice(["2..", "..3", "2..4", 1]),
            "bytes": lambda: self.chance.choice(["64B..", "..48B", "40B..100B"]),
            "priority": lambda: self.chance.choice(["..3", "4..6", "7.."]),
            "text_length": lambda: {"text": self.chance.choice(["5..", "..4", "0..9"])},
        }
        if depth < 2:
            makers["any"] = lambda: [self.match(depth + 1), self.match(depth + 1)]
            makers["all"] = lambda: [self.match(depth + 1)]
            makers["not"] = lambda: self.match(depth + 1)
        return {key: makers[key]() for key in self.chance.sample(sorted(makers), self.chance.choice([1, 1, 1, 2, 2, 3]))}

    def some(self, words: list[str]) -> list[str]:
        return self.chance.sample(words, self.chance.randint(1, len(words)))

    def limit(self, room: int) -> dict[str, Any]:
        """One that nobody uses up."""
        words = {
            "tenant": TENANTS[1:],
            "tier": TIERS[1:],
            "scope": SCOPES,
            "model": ["m0", "m1", "m2", "m3"],
            "subject": ["s1", "s2"],
        }
        match = {key: self.some(words[key]) for key in self.chance.sample(sorted(words), self.chance.choice([0, 1, 1, 2]))}
        per = {"per": self.chance.choice(["tenant", "subject", "tier", "model"])} if self.chance.random() < 0.7 else {}
        amount: dict[str, Any] = self.chance.choice([{"concurrency": room}, {"requests": f"{room}/s"}, {"bytes": f"{room}KiB/s"}])
        return {"match": match, **per, **amount}

    def action(self) -> dict[str, Any]:
        """A use, a split or a cascade, now and then with a timeout of its own."""
        own = {"timeout": "7s"} if self.chance.random() < 0.2 else {}
        kind = self.chance.random()
        if kind < 0.4:
            return {"use": self.chance.choice(list(VARIANTS)), **own}
        if kind < 0.7:
            return {"split": {name: self.chance.randint(1, 9) for name in VARIANTS}, "unit": self.chance.choice(UNITS), **own}
        names = sorted(self.chance.sample(sorted(VARIANTS), self.chance.choice([2, 3])))
        stages = [{"use": name, "accept": self.chance.choice([0.3, 0.5, 0.9])} for name in names[:-1]]
        confidence = {"output": "probabilities", "metric": "max-softmax"}
        return {"cascade": {"confidence": confidence, "stages": [*stages, {"use": names[-1]}]}, **own}


def policy(seed: int) -> bytes:
    """A document of many models, with PORT for the backend's; routes that the check finds fault with are left out."""
    author = Author(seed)
    backends = {"triton": {"protocol": "triton-http", "endpoints": ["127.0.0.1:PORT"]}}
    models = {f"m{number}": author.model() for number in range(MODELS)}
    document: dict[str, Any] = {
        "version": 1,
        "backends": backends,
        "models": models,
        "aliases": {f"also{n}": f"m{n}" for n in range(0, MODELS, 3)},
        "limits": [{"name": f"limit{at}", **author.limit(1_000_000 - at)} for at in range(LIMITS)],
    }
    while True:
        text = json.dumps(document).encode()
        try:
            load_policy(text.replace(b"PORT", b"1"), "policy.yaml")
        except PolicyError as error:
            paths = {problem.path for problem in error.problems}
            limits = [each for at, each in enumerate(document["limits"]) if f"limits[{at}]" not in paths]
            document["limits"] = limits  # one that never decides
            wrong = {_ROUTE.sub(r"\1 \2", path) for path in paths if not path.startswith("limits")}
            for name, at in sorted((each.split() for each in wrong), key=lambda each: -int(each[1])):
                routes = models[name]["routes"]
                if int(at) < len(routes) - 1:
                    del routes[int(at)]
                else:  # nobody gets to the last one
                    models[name] = author.model()
        else:
            return text


@dataclass(frozen=True)
class Asking:
    """One request: what explain is told, and what the gateway gets."""

    sample: Request
    key: str
    texts: tuple[str, ...]
    in_path: bool  # where the version stands
    shapes: tuple[tuple[int, ...], ...]  # of the numbers

    @property
    def path(self) -> str:
        version = f"/versions/{self.sample.version}" if self.sample.version and self.in_path else ""
        return f"/v2/models/{self.sample.model}{version}/infer"

    @property
    def headers(self) -> dict[str, str]:
        """As a client sends them."""
        sample = self.sample
        said = {
            "x-request-id": sample.request_id,
            "x-model-version": "" if self.in_path else sample.version,
            "x-priority": "" if sample.priority is None else str(sample.priority),
        }
        return {"x-api-key": self.key, **{name: value for name, value in said.items() if value}, **sample.headers}

    @property
    def body(self) -> bytes:
        inputs: list[dict[str, Any]] = [
            {"name": f"n{at}", "datatype": "FP32", "shape": shape, "data": [0.0] * _size(shape)}
            for at, shape in enumerate(self.shapes)
        ]
        if self.texts:
            inputs.append({"name": "text", "datatype": "BYTES", "shape": [len(self.texts), 1], "data": self.texts})
        return json.dumps({"inputs": inputs, "parameters": dict(self.sample.parameters)}).encode()

    @property
    def message(self) -> Any:
        """The same over gRPC."""
        found = service_pb2.ModelInferRequest(
            model_name=self.sample.model, model_version=self.sample.version if self.in_path else ""
        )
        for name, value in self.sample.parameters.items():
            kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
            setattr(found.parameters[name], kind, value)
        for at, shape in enumerate(self.shapes):
            found.inputs.add(name=f"n{at}", datatype="FP32", shape=shape)
            found.raw_input_contents.append(bytes(4 * _size(shape)))
        if self.texts:
            found.inputs.add(name="text", datatype="BYTES", shape=[len(self.texts), 1])
            encoded = [text.encode() for text in self.texts]
            found.raw_input_contents.append(b"".join(len(each).to_bytes(4, "little") + each for each in encoded))
        return found


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for dimension in shape:
        size *= dimension
    return size


@dataclass
class Crowd:
    """Clients of all kinds. `keys` by who they are."""

    chance: random.Random
    keys: dict[Caller, str] = field(default_factory=dict)

    def join(self, file: Path) -> None:
        """Everybody gets an API key."""
        for number in range(24):
            scopes = ["models:infer" if number % 8 else f"models:infer:m{number}"]
            scopes += [word for word in SCOPES if self.chance.random() < 0.4]
            caller = Caller(f"s{number}", self.chance.choice(TENANTS), self.chance.choice(TIERS), tuple(scopes))
            self.keys[caller] = new_key()
            append(
                file, entry_of(self.keys[caller], principal_of(caller.subject, caller.tenant, caller.tier, caller.scopes), None)
            )

    def asking(self) -> Asking:
        """Any request; sometimes one that must be refused."""
        chance = self.chance
        caller = chance.choice(list(self.keys))
        rows = chance.randint(1, 6)
        texts = (
            tuple(chance.choice(["", "ab", "abcd", "längers", "x" * 12]) for _ in range(rows)) if chance.random() < 0.5 else ()
        )
        shapes = ((rows, 2), (rows + 1,)) if chance.random() < 0.05 else ((rows, 2),)
        number = chance.randrange(MODELS)
        odd = {name: value for name, value in ODD.items() if chance.random() < 0.02}
        sample = Request(
            model=chance.choice(
                [f"m{number}", f"m{number}", f"m{number}", f"also{number // 3 * 3}", f"no{number}"][: chance.choice([4, 4, 4, 5])]
            ),
            principal=caller,
            rows=rows if len(shapes) == 1 else None,
            headers=odd | {name: chance.choice(WORDS) for name in ("x-a", "X-B", "x-user") if chance.random() < 0.4},
            parameters={"p": chance.choice(PARAMETERS)} if chance.random() < 0.4 else {},
            version=chance.choice(VERSIONS) if chance.random() < 0.2 else "",
            priority=chance.randint(0, 9) if chance.random() < 0.4 else None,
            bytes=sum(4 * _size(shape) for shape in shapes) + sum(4 + len(text.encode()) for text in texts),
            text_length={"text": max(map(len, texts))} if texts else {},
            request_id=f"q{chance.randrange(1 << 30)}" if chance.random() < 0.9 else "",
        )
        in_path = "x-model-version" in odd or chance.random() < 0.5
        return Asking(sample, self.keys[caller], texts, in_path, shapes)


async def answering(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """A model that is half sure of as many rows as it is asked about."""
    shapes = [entry["shape"] for entry in asked.head["inputs"]]
    rows = shapes[0][0]
    output = {"name": "probabilities", "datatype": "FP32", "shape": [rows, 2], "data": [SURE] * (2 * rows)}
    answer = {"model_name": asked.model, "model_version": asked.version or "9", "outputs": [output]}
    writer.write(written(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}))
    return True


def expected(course: Course, sample: Request) -> dict[str, str]:
    """The headers of an answer that the explanation foretells, knowing how sure the models are."""
    asked = []
    for each in course.asked:
        asked.append(each)
        if each.accept is None or each.accept <= SURE:
            break
    last = asked[-1]
    return {
        "x-penstock-route": course.route,
        "x-penstock-variant": last.variant,
        "x-penstock-escalation": "none" if len(asked) == 1 else "→".join(each.variant for each in asked),
        "x-penstock-cost": f"{sum(each.cost for each in asked) * (sample.rows or 1):.10g}",
        "x-model-name": last.model,
        "x-model-version": last.version or "9",
    }


def agrees(explanation: Explanation, status: int, headers: dict[str, str]) -> bool:
    """Whether what came is what was foretold; of a split that nothing decides, one of the things foretold."""
    if explanation.policy != headers["x-penstock-policy"]:
        return False
    for course in explanation.answers:
        if course.refused is not None:
            if (course.refused.status, course.refused.reason) == (status, headers.get("x-penstock-error")):
                return True
        elif status == 200 and expected(course, explanation.request).items() <= headers.items():
            counted = re.findall(r'"(limit[^":]+)', headers.get("ratelimit-policy", ""))
            return counted == [each.limit for each in explanation.limits if each.counts]
    return False


async def by_http(gate: Running, several: list[Asking]) -> list[tuple[int, dict[str, str]]]:
    """What comes of them, one after the other over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.gateway.ports.http.port)
    found = []
    try:
        for asking in several:
            writer.writelines(framed("POST", asking.path, asking.headers, asking.body))
            async with asyncio.timeout(10):
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                reply = Reply(int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
            found.append((reply.status, dict(reply.headers)))
    finally:
        writer.close()
    return found


_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
}


async def by_grpc(gate: Running, several: list[Asking]) -> list[tuple[int, dict[str, str]]]:
    """The same over gRPC, told in HTTP's words."""
    stub, found = gate.stub(), []
    for asking in several:
        metadata = [(name.lower(), value) for name, value in asking.headers.items()]
        call = stub.ModelInfer(asking.message, metadata=metadata, timeout=10)
        code = await call.code()
        told = dict((*await call.initial_metadata(), *await call.trailing_metadata()))
        if "x-penstock-escalation" in told:
            told["x-penstock-escalation"] = told["x-penstock-escalation"].replace("->", "→")
        found.append((200 if code is grpc.StatusCode.OK else _STATUS[code], told))
    return found


@pytest.mark.slow
async def test_explain_is_what_the_gateway_does(start: Start, tmp_path: Path) -> None:
    """Over 10 000 random requests to 60 random models: route, variants, escalation, cost, version, limits or the refusal."""
    text = policy(SEED).decode()
    gate = await start(text)
    gate.backend.scripts = {f"served_{name}": answering for name in VARIANTS}
    crowd = Crowd(random.Random(SEED + 1))
    crowd.join(tmp_path / "keys.yaml")
    await gate.reload(text)
    written_text = gate.policy.read_bytes()
    document = load_policy(written_text, "policy.yaml")
    decider = Decider(route_tables(document), document.aliases)
    asked = [crowd.asking() for _ in range(REQUESTS)]
    parts = [asked[:BY_GRPC], *(asked[BY_GRPC + at :: CLIENTS] for at in range(CLIENTS))]
    came = await asyncio.gather(by_grpc(gate, parts[0]), *(by_http(gate, part) for part in parts[1:]))
    seen: Counter[str] = Counter()
    for asking, (status, headers) in (
        (each, answer) for part, found in zip(parts, came, strict=True) for each, answer in zip(part, found, strict=True)
    ):
        explanation = explain(document, asking.sample, version(written_text), decider)
        assert agrees(explanation, status, headers), f"{asking}\n{explanation}\n{status} {headers}"
        seen[headers.get("x-penstock-error", "answered")] += 1
    assert REQUESTS == sum(seen.values())
    assert {"answered", "version", "forbidden", "not-found", "priority", "timeout"} == seen.keys(), seen
