"""Permission, endpoint by endpoint and principal by principal: on the model that a name resolves to, before anything is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from gateway.dialects.v2_grpc import REFUSED
from gateway.dialects.v2_http import Kind, operation
from tests.features.oip_server import failing
from tests.real_parts import AUDIENCE, ISSUER, Issuer

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

# Two models that share a backend's models: what a variant is called there gives nobody a right.
POLICY = """
version: 1
aliases: {mnist: digits, renamed: other}
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    variants:
      fast: {backend: triton, model: digits_fast}
      balanced: {backend: triton, model: digits_balanced}
      accurate: {backend: triton, model: digits_accurate}
    routes:
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: accurate}]
    fallback: {accurate: balanced}
  other:
    variants: {only: {backend: triton, model: digits_accurate}}
    routes: [{name: default, use: only}]
"""
IMAGE = {"name": "image", "datatype": "FP32", "shape": [1, 4], "data": [1, 0, 0, 0]}  # the fast model is unsure of it
BODY = json.dumps({"inputs": [IMAGE]}).encode()
MODELS = {
    "digits": "digits",
    "mnist": "digits",
    "other": "other",
    "renamed": "other",
    "nobody-s": "",
}  # names, and whose they are

# Who asks, and which models are theirs; None: nobody whom we know.
PRINCIPALS: dict[str, set[str] | None] = {
    "nobody": None,
    "expired": None,
    "forged": None,
    "free": {"digits", "other"},
    "digits-only": {"digits"},
    "admin": set(),
    "of an alias": set(),
    "of a backend's model": set(),
    "of no scope": set(),
    "of the other": {"other"},
}
TOKENS = {
    "of an alias": "models:infer:mnist models:infer:renamed",
    "of a backend's model": "models:infer:digits_fast models:infer:digits_accurate models:infer:triton models:infer:fast",
    "of no scope": "openid models:infer: models models:inferx",
    "of the other": "models:infer:other",
}

OF_MODEL = [(method, version, path) for method, path in (("POST", "/infer"), ("GET", ""), ("GET", "/config"), ("GET", "/stats"),
            ("GET", "/ready")) for version in ("", "/versions/1")]  # fmt: skip
GENERAL = [("GET", "/v2"), ("POST", "/v2/repository/index"), ("GET", "/v2/models/stats")]
PROBES = [("GET", "/v2/health/live"), ("GET", "/v2/health/ready")]
TELLING = [("POST", "/v2/feedback")]


class Callers:
    """A gateway, and the credentials of everybody above."""

    def __init__(self, gate: Running, issuer: Issuer) -> None:
        self.gate = gate
        self._issuer = issuer

    def credential(self, who: str) -> dict[str, str]:
        """The headers of this caller."""
        if who == "nobody":
            return {}
        if who == "forged":
            return {"authorization": f"Bearer {self._issuer.token()[:-4]}AAAA"}
        if who in TOKENS:
            return {"authorization": f"Bearer {self._issuer.token(scope=TOKENS[who])}"}
        return {"x-api-key": self.gate.keys[who]}

    async def over_http(self, method: str, path: str, who: str) -> Any:
        """One request over HTTP."""
        return await self.gate.ask(method, path, BODY if path.endswith("/infer") else b"", self.credential(who), caller="")

    async def over_grpc(self, method: str, request: Any, who: str) -> Any:
        """The answer to one call over gRPC. Raises AioRpcError."""
        metadata = tuple(self.credential(who).items())
        return await getattr(self.gate.stub(), method)(request, metadata=metadata, timeout=5)

    async def status(self, method: str, request: Any, who: str) -> grpc.StatusCode:
        """How a call over gRPC ends."""
        try:
            await self.over_grpc(method, request, who)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK


@pytest.fixture
async def callers(start: Start, tmp_path: Path) -> Callers:
    """API keys, and tokens of one issuer."""
    issuer = Issuer(tmp_path)
    gate = await start(
        POLICY, auth=f"jwt: [{{issuer: '{ISSUER}', audience: {AUDIENCE}, jwks: {issuer.jwks}, algorithms: [EdDSA]}}]"
    )
    gate.backend.confidence = {"digits_fast": {1: 0.5}}
    await gate.learned()
    return Callers(gate, issuer)


def verdict(theirs: set[str] | None, name: str) -> int:
    """The HTTP status that this caller must get for a question about this name."""
    if theirs is None:
        return 401
    return 404 if not MODELS[name] else 200 if MODELS[name] in theirs else 403


def refusal_of(who: str, seen: Any) -> Any:
    """What was seen; after so many forged tokens, also that there were too many."""
    throttled = {429: 401, grpc.StatusCode.RESOURCE_EXHAUSTED: grpc.StatusCode.UNAUTHENTICATED}
    return throttled.get(seen, seen) if who == "forged" else seen


CODES: Mapping[int, grpc.StatusCode] = {
    200: grpc.StatusCode.OK,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
}


def question(name: str) -> Any:
    """One image."""
    found = service_pb2.ModelInferRequest(model_name=name, raw_input_contents=[np.array([[1, 0, 0, 0]], "<f4").tobytes()])
    found.inputs.add(name="image", datatype="FP32", shape=[1, 4])
    return found


def about(name: str) -> dict[str, Any]:
    """Every method of the service that asks about a model."""
    asked: dict[str, Any] = {"ModelInfer": question(name)}
    for method in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"):
        asked[method] = getattr(service_pb2, f"{method}Request")(name=name)
    return asked


@pytest.mark.parametrize("who", PRINCIPALS)
async def test_every_path_of_a_model(who: str, callers: Callers) -> None:
    """Inference, descriptions, statistics and readiness, with and without a version: allowed, 401, 403 or 404, by every name."""
    theirs = PRINCIPALS[who]
    expected, found = {}, {}
    for name in MODELS:
        for method, version, path in OF_MODEL:
            asked = (method, f"/v2/models/{name}{version}{path}")
            expected[asked] = verdict(theirs, name)
            if expected[asked] == 200 and MODELS[name] == "digits" and asked[1].endswith("/versions/1/infer"):
                expected[asked] = 400  # a cascade has no one version
            found[asked] = refusal_of(who, (await callers.over_http(*asked, who)).status)
    assert expected == found
    assert (0 == len(callers.gate.backend.asked)) == (not theirs)


@pytest.mark.parametrize("who", PRINCIPALS)
async def test_every_method_of_a_model(who: str, callers: Callers) -> None:
    """The same over gRPC."""
    theirs = PRINCIPALS[who]
    asked = {(name, method): request for name in MODELS for method, request in about(name).items()}
    found = {key: refusal_of(who, await callers.status(key[1], request, who)) for key, request in asked.items()}
    assert {(name, method): CODES[verdict(theirs, name)] for name, method in asked} == found
    assert (0 == len(callers.gate.backend.asked)) == (not theirs)


@pytest.mark.parametrize("who", PRINCIPALS)
async def test_what_names_no_model(who: str, callers: Callers) -> None:
    """Lists hold only what is the caller's, by all its names; probes alone need no credential; control is nobody's."""
    theirs = PRINCIPALS[who]
    status = 401 if theirs is None else 200
    assert [status] * 3 == [(await callers.over_http(method, path, who)).status for method, path in GENERAL]
    assert [200] * 2 == [(await callers.over_http(method, path, who)).status for method, path in PROBES]
    for path in ("repository/models/x/load", "systemsharedmemory/region/x/register", "trace/setting", "logging"):
        assert 403 == (await callers.over_http("POST", f"/v2/{path}", who)).status
    for method in REFUSED:
        assert (await callers.status(method, _request(method), who)) in (CODES[403], grpc.StatusCode.UNIMPLEMENTED)
    assert CODES[status] is await callers.status("ServerMetadata", service_pb2.ServerMetadataRequest(), who)
    assert CODES[status] is await callers.status("RepositoryIndex", service_pb2.RepositoryIndexRequest(), who)
    assert CODES[status] is await callers.status("ModelStatistics", service_pb2.ModelStatisticsRequest(), who)
    if theirs is None:
        return
    names = {name for name, model in MODELS.items() if model in theirs}
    assert names == {each["name"] for each in (await callers.over_http("POST", "/v2/repository/index", who)).json}
    told = await callers.over_grpc("RepositoryIndex", service_pb2.RepositoryIndexRequest(), who)
    assert names == {each.name for each in told.models}
    assert theirs == {each["name"] for each in (await callers.over_http("GET", "/v2/models/stats", who)).json["model_stats"]}
    told = await callers.over_grpc("ModelStatistics", service_pb2.ModelStatisticsRequest(), who)
    assert theirs == {each.name for each in told.model_stats}


def _request(method: str) -> Any:
    return getattr(service_pb2, f"{method}Request")()


async def test_a_stream_is_judged_message_by_message(callers: Callers) -> None:
    """On one stream each question has its own verdict; that one was allowed, even by a cascade, opens nothing else."""
    names = ["digits", "other", "mnist", "renamed", "nobody-s", "digits"]

    async def questions() -> AsyncIterator[Any]:
        for name in names:
            yield question(name)

    call = callers.gate.stub().ModelStreamInfer(questions(), metadata=tuple(callers.credential("digits-only").items()), timeout=5)
    told = [answer.error_message async for answer in call]
    assert [False, True, False, True, True, False] == [bool(each) for each in told]
    assert all("may not use model 'other'" in told[at] for at in (1, 3))
    assert {"digits_fast", "digits_accurate"} == {each.model for each in callers.gate.backend.asked}


async def test_a_withdrawn_key_ends_at_the_next_message(callers: Callers, tmp_path: Path) -> None:
    """A stream that was begun with a good key is not a right to go on with it."""
    sent: asyncio.Queue[Any] = asyncio.Queue()

    async def questions() -> AsyncIterator[Any]:
        while True:
            yield await sent.get()

    call = callers.gate.stub().ModelStreamInfer(questions(), metadata=tuple(callers.credential("free").items()), timeout=5)
    sent.put_nowait(question("digits"))
    assert not (await call.read()).error_message
    (tmp_path / "keys.yaml").write_text("[]")
    await callers.gate.gateway.reload()
    sent.put_nowait(question("digits"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert grpc.StatusCode.UNAUTHENTICATED is caught.value.code()


async def test_a_stage_and_a_fallback_are_the_model_s(callers: Callers) -> None:
    """Whoever may ask the model gets all of its cascade and its fallback, though not one of their backend's models is theirs."""
    callers.gate.backend.scripts["digits_accurate"] = failing(500)
    reply = await callers.over_http("POST", "/v2/models/mnist/infer", "digits-only")
    assert (200, "balanced") == (reply.status, reply.headers["x-penstock-variant"])
    assert ["digits_fast", "digits_accurate", "digits_balanced"] == [each.model for each in callers.gate.backend.asked]


@pytest.mark.parametrize("who", [*PRINCIPALS, "shop"])
async def test_feedback_wants_a_scope_of_its_own(callers: Callers, who: str) -> None:
    """Who may ask may not tell, nor may an operator."""
    (method, path), body = TELLING[0], b'{"request": "a", "metric": "bought"}'
    reply = await callers.gate.ask(method, path, body, callers.credential(who), caller="")
    assert (200 if who == "shop" else 401 if PRINCIPALS[who] is None else 403) == reply.status


def test_the_walk_leaves_nothing_out() -> None:
    """Every kind of question over HTTP and every method over gRPC is walked above; a new one fails here until it is."""
    paths = [(method, f"/v2/models/m{version}{path}") for method, version, path in OF_MODEL]
    assert set(get_args(Kind)) == {operation(method, path).kind for method, path in (*paths, *GENERAL, *PROBES, *TELLING)}
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    walked = {*about("m"), *REFUSED, "ServerMetadata", "RepositoryIndex", "ModelStreamInfer"}
    assert {method.name for method in service.methods} == walked | {"ServerLive", "ServerReady"}
