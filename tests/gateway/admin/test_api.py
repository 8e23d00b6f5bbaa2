"""The admin API without its sockets: who may, what there is, and every way of being refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.api import Api, Controls
from gateway.admin.asked import ApiError, ApiRequest, ApiResponse
from gateway.admin.drains import Drained, Drains
from gateway.admin.endpoints import EndpointState
from gateway.admin.operators import Clearance
from gateway.aside import Aside, here
from gateway.configuration.load import version
from gateway.reload.policy_file import PolicyFile
from gateway.reload.records import Records
from gateway.reload.reloader import Judged, Reloader, judged
from gateway.shadow.report import Report
from gateway.spawner import Spawner
from routing.cache.caching import Purge
from tests.gateway.shadow.shadowed import shown

POLICY = """version: 1
backends: {b: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {m: {variants: {v: {backend: b, model: x}}, routes: [{name: r, use: v}]}}
"""
OTHER = POLICY.replace("name: r", "name: other")
ONE, TWO = (version(text.encode()) for text in (POLICY, OTHER))


class Place:
    """An API over a policy file whose operator is alice."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "policy.yaml"
        self.file.write_text(POLICY)
        self.clearance = Clearance(200, "alice")
        self.go: Callable[[], Awaitable[object]] | None = None
        self.spawner = Spawner()
        file = PolicyFile(self.file, Aside("test"))
        reading = file.first()
        first = (reading, judged(reading.text, str(self.file)))
        self.policy = Reloader(file, first, self.put, lambda: None, Records(None, here, self.spawner.spawn))
        self.states = [EndpointState("b", "127.0.0.1:1", True, False, "closed", 2, 1.0, {"x": "ok"}, None)]
        self.drains = Drains(self.told, self.hold)
        self.held: list[Drained] = []
        self.purged: list[Purge] = []
        self.heard: bool | None = None  # by other gateways
        self.controls = Controls(self.drains, self.purge)
        self.api = Api(self.policy, self.controls, self.judge, self.spawner.spawn)

    async def told(self) -> list[EndpointState]:
        return self.states

    async def hold(self, drained: Drained) -> None:
        self.held.append(drained)

    async def purge(self, which: Purge) -> bool | None:
        self.purged.append(which)
        return self.heard

    async def judge(self, credentials: Mapping[str, str]) -> Clearance:
        self.credentials = credentials
        return self.clearance

    async def put(self, _: Judged) -> None:
        if self.go is not None:
            await self.go()

    async def ask(self, method: str, path: str, body: object = b"", **headers: list[str]) -> ApiResponse:
        async def read() -> bytes:
            if isinstance(body, ApiError):
                raise body
            return body if isinstance(body, bytes) else json.dumps(body).encode()

        full = path if path.startswith("/api") else f"/api/policy{path}"
        return await self.api.answer(ApiRequest(method, full, {"x-api-key": ["k"], **headers}, read))

    async def got(self, method: str, path: str, body: object = b"") -> Mapping[str, Any]:
        answer = await self.ask(method, path, body)
        assert 200 == answer.status, answer.content
        json.dumps(answer.content)
        return answer.content


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    """After the start, and a change of the file."""
    place = Place(tmp_path)
    await place.policy._begin()
    place.file.write_text(OTHER)
    await place.policy.changed()
    return place


async def test_what_is_in_force(place: Place) -> None:
    """Its version and text, since when and by whom, and which others are kept."""
    found = await place.got("GET", "")
    assert (TWO, OTHER, "file", "reload") == (found["version"], found["text"], found["since"]["who"], found["since"]["what"])
    assert ("", None, [TWO, ONE]) == (found["note"], found["refused"], found["versions"])


async def test_what_was_refused_last(place: Place) -> None:
    """When, from whom, and every mistake with its place; gone with the next policy that is taken."""
    place.file.write_text("version: 2\nmodls: {}\n")
    await place.policy.changed()
    refused = (await place.got("GET", ""))["refused"]
    assert ("file", 1, "version") == (refused["who"], refused["problems"][0]["line"], refused["problems"][0]["path"])
    assert "modls: unknown key 'modls'" in refused["error"]
    place.file.write_text(OTHER)
    await place.policy.changed()
    assert (await place.got("GET", ""))["refused"] is None


async def test_the_history(place: Place) -> None:
    """Newest first, each with when and by whom."""
    found = await place.got("GET", "/history")
    assert (TWO, [(TWO, "file"), (ONE, "start")]) == (
        found["version"],
        [(each["version"], each["via"]) for each in found["versions"]],
    )
    assert [] == found["damaged"]


async def test_a_rollback(place: Place) -> None:
    """Tells both versions, and the history tells by whom."""
    assert {"version": ONE, "before": TWO, "note": ""} == await place.got("POST", "/rollback", {"version": ONE})
    assert POLICY == place.file.read_text()
    newest = (await place.got("GET", "/history"))["versions"][0]
    assert (ONE, "alice", "api", "rollback") == (newest["version"], newest["who"], newest["via"], newest["what"])


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"version": "0" * 12}, 404, f"that version is not kept; kept are {TWO}, {ONE}"),
        ({"version": 1}, 400, "Expected `str`, got `int` - at `$.version`; send {"),
        ({"versoin": ONE}, 400, "unknown field `versoin`"),
        ({}, 400, "missing required field `version`"),
        (b"{", 400, "truncated"),
        (b"", 400, "truncated"),
        ([], 400, "Expected `object`"),
        (ApiError(413, "too much"), 413, "too much"),
    ],
)
async def test_a_rollback_that_cannot_be(place: Place, body: object, status: int, error: str) -> None:
    """It changes nothing, and says what would do."""
    answer = await place.ask("POST", "/rollback", body)
    assert (status, True) == (answer.status, error in answer.content["error"]), answer.content
    assert TWO == place.policy.in_force.version


async def test_a_reload(place: Place) -> None:
    """Takes the file as it is; a refusal is a 409 with every mistake, and the version that stays."""
    place.file.write_text(POLICY)
    assert {"version": ONE, "before": TWO, "note": ""} == await place.got("POST", "/reload")
    place.file.write_text("version: 1\nmodls: {}\n")
    answer = await place.ask("POST", "/reload")
    assert (409, ONE, "alice") == (answer.status, answer.content["version"], answer.content["who"])
    assert "modls" in [problem["path"] for problem in answer.content["problems"]]


async def test_explain(place: Place) -> None:
    """The policy in force explains one request, as `penstock policy explain` does with a file."""
    found = await place.got("POST", "/explain", {"model": "m"})
    assert (TWO, "other") == (found["policy"], found["answers"][0]["route"])
    answer = await place.ask("POST", "/explain", {"modle": "m"})
    assert (400, True) == (answer.status, "did you mean 'model'?" in answer.content["error"])


@pytest.mark.parametrize("body", [b"", b"model: m", b'{"model": NaN}', b"{'model': 'm'}", b"[" * 60_000])
async def test_a_request_is_json(place: Place, body: bytes) -> None:
    """YAML is for people's files: here a program's mistake must not become a model's name."""
    asked = ApiRequest("POST", "/api/policy/explain", {"x-api-key": ["k"]}, lambda: asyncio.sleep(0, body))
    answer = await place.api.answer(asked)
    assert (400, True) == (answer.status, answer.content["error"].startswith("the request is not JSON: "))


async def test_endpoints(place: Place) -> None:
    """How each does, and whether the gateway itself is drained."""
    found = await place.got("GET", "/api/endpoints")
    assert {"drained": False} == found["gateway"]
    assert ("b", "127.0.0.1:1", 2, {"x": "ok"}) == tuple(
        found["endpoints"][0][key] for key in ("backend", "endpoint", "in_flight", "models")
    )


async def test_a_purge(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Kept answers of what is said are thrown away; it is written down, and what the policy has not is a mistake."""
    caplog.set_level("INFO")
    assert {"purged": "answers of model m, version 3"} == await place.got(
        "POST", "/api/cache/purge", {"model": "m", "version": "3"}
    )
    assert {"purged": "all answers"} == await place.got("POST", "/api/cache/purge", b"")
    assert [("m", "3"), ("", "")] == [(each.model, each.version) for each in place.purged]
    assert "purge of answers of model m, version 3 by alice" in caplog.messages
    for body, status in (({"model": "n"}, 404), ({"modle": "m"}, 400), ([], 400)):
        assert status == (await place.ask("POST", "/api/cache/purge", body)).status
    assert 2 == len(place.purged)
    for place.heard in (True, False):
        assert {"purged": "all answers", "heard": place.heard} == await place.got("POST", "/api/cache/purge", b"")


async def test_a_drain(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Tells what it is about, so that its end can be waited for; who asked for it is written down."""
    caplog.set_level("INFO")
    found = await place.got("POST", "/api/drain", {"backend": "b", "endpoint": "127.0.0.1:1"})
    assert [2] == [each["in_flight"] for each in found["endpoints"]]
    assert [Drained(False, frozenset({("b", "127.0.0.1:1")}))] == place.held
    assert {"gateway": {"drained": True}, "endpoints": []} == await place.got("POST", "/api/drain", b"")
    await place.got("POST", "/api/drain", {"drained": False})
    assert ["drain of backend b, endpoint 127.0.0.1:1 by alice", "drain of this gateway by alice"] == caplog.messages[-3:-1]
    assert "undrain of this gateway by alice" == caplog.messages[-1]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"backend": "c"}, 404, "there is no backend c in the policy"),
        ({"backend": "b", "endpoint": "127.0.0.1:2"}, 404, "there is no backend b, endpoint 127.0.0.1:2"),
        ({"endpoint": "127.0.0.1:1"}, 400, "of which backend"),
        ({"bakend": "b"}, 400, "unknown field `bakend`"),
        ({"drained": "no"}, 400, "Expected `bool`"),
        (b"{", 400, "truncated"),
    ],
)
async def test_a_drain_that_cannot_be(place: Place, body: object, status: int, error: str) -> None:
    """It changes nothing."""
    answer = await place.ask("POST", "/api/drain", body)
    assert (status, True) == (answer.status, error in answer.content["error"]), answer.content
    assert [] == place.held


@pytest.mark.parametrize(
    "path", ["", "/history", "/reload", "/rollback", "/explain", "/nowhere", "/api/drain", "/api/cache/purge"]
)
@pytest.mark.parametrize("status", [400, 401, 403, 503])
async def test_who_has_no_say_learns_and_changes_nothing(place: Place, path: str, status: int) -> None:
    """Not even which paths there are; the body is not read."""
    place.clearance = Clearance(status, error="who are you?")
    place.file.write_text(POLICY)
    for method in ("GET", "POST", "DELETE"):
        assert ApiResponse(status, {"error": "who are you?"}) == await place.ask(method, path, ApiError(500, "it was read"))
    assert TWO == place.policy.in_force.version
    assert [] == place.held


async def test_only_credentials_are_judged(place: Place) -> None:
    """And two of a kind are refused before."""
    await place.ask("GET", "", cookie=["a"], authorization=["Bearer x"])
    assert {"x-api-key": "k", "authorization": "Bearer x"} == place.credentials
    answer = await place.api.answer(ApiRequest("GET", "/api/policy", {"x-api-key": ["a", "b"]}, lambda: asyncio.sleep(0, b"")))
    assert (400, {"error": "a credential stands here twice: send one"}) == (answer.status, answer.content)


async def test_what_is_not_here(place: Place) -> None:
    """404 lists what is, 405 which methods."""
    answer = await place.ask("GET", "/nowhere")
    assert (404, True) == (answer.status, "/api/policy/history" in answer.content["error"])
    for method, path, allow in (("POST", "", "GET"), ("GET", "/reload", "POST"), ("DELETE", "/rollback", "POST")):
        assert ApiResponse(405, {"error": f"this takes {allow}"}, allow) == await place.ask(method, path)


async def test_a_change_that_takes_long_goes_on(place: Place) -> None:
    """Its caller is told so, and may leave; half a change would be worse."""
    place.api = Api(place.policy, place.controls, place.judge, place.spawner.spawn, patience=0.01)
    gate = asyncio.Event()
    place.go = gate.wait
    answer = await place.ask("POST", "/rollback", {"version": ONE})
    assert (503, True) == (answer.status, "it goes on" in answer.content["error"])
    asking = asyncio.ensure_future(place.ask("GET", ""))
    gate.set()
    await asking
    async with asyncio.timeout(5):
        while place.policy.in_force.version != ONE:  # noqa: ASYNC110 - the one who asked has left
            await asyncio.sleep(0)


async def test_a_change_that_the_end_cuts_off(place: Place) -> None:
    """It is background work like any other: the end of the process cancels it, and its caller is told."""
    begun = asyncio.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    place.go = never
    asking = asyncio.ensure_future(place.ask("POST", "/rollback", {"version": ONE}))
    await begun.wait()
    await place.spawner.close()
    answer = await asking
    assert (503, True) == (answer.status, "the gateway is stopping" in answer.content["error"])
    assert TWO == place.policy.in_force.version


async def test_shadows(tmp_path: Path) -> None:
    """All of them, or one by its model and name; who asks for another hears which there are."""
    place = Place(tmp_path)
    place.controls = Controls(place.drains, place.purge, shadows)
    place.api = Api(place.policy, place.controls, place.judge, place.spawner.spawn)
    answer = await place.ask("GET", "/api/shadows")
    assert ["dark"] == [each["shadow"] for each in answer.content["shadows"]]
    assert "dark" == (await place.ask("GET", "/api/shadows/digits/dark")).content["shadow"]
    lost = await place.ask("GET", "/api/shadows/digits/dork")
    assert (404, "the policy in force has no such shadow; there is digits/dark") == (lost.status, lost.content["error"])
    assert (405, "GET") == ((wrong := await place.ask("POST", "/api/shadows/digits/dark")).status, wrong.allow)


async def shadows() -> list[Report]:
    return [shown(10, 0.0)]
