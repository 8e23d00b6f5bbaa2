"""The application behind the HTTP edge, without a socket: what is settled before the body, and what every ending leaves."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from backends.errors import ErrorKind, InferenceError
from gateway.dialects.reply import server_metadata
from gateway.edge.messages import HttpResponse, RequestHead
from gateway.fronts.http import HttpFront

if TYPE_CHECKING:
    from tests.gateway.fronts.conftest import Front

INFER = "/v2/models/digits/infer"
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2,3,4]}]}'


def head(method: str = "POST", path: str = INFER, **headers: str) -> RequestHead:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestHead(method, path, "", given, "1.2.3.4", 0.0)


async def answer(front: Front, asked: RequestHead, body: bytes = b"") -> HttpResponse:
    """What the client gets."""
    verdict = HttpFront(front.parts()).admit(asked)
    found = verdict if isinstance(verdict, HttpResponse) else verdict(body)
    return found if isinstance(found, HttpResponse) else await found


def early(front: Front, asked: RequestHead) -> tuple[int, str]:
    """Status and reason of a refusal that comes before the body."""
    verdict = HttpFront(front.parts()).admit(asked)
    assert isinstance(verdict, HttpResponse)
    return verdict.status, dict(verdict.headers)["x-penstock-error"]


async def test_an_answer(front: Front) -> None:
    """The question goes to the data plane as it was understood; the answer is told with its headers, and recorded once."""
    response = await answer(front, head(x_request_id="r", x_request_timeout_ms="500"), BODY)
    told = json.loads(bytes(response.body))
    assert (200, "digits", [False, False]) == (response.status, told["model_name"], told["outputs"][0]["data"])
    assert ("r", "default", "fast", "v1") == tuple(
        dict((*response.headers, *response.fixed))[name]
        for name in ("x-request-id", "x-penstock-route", "x-penstock-variant", "x-penstock-policy")
    )
    (call,) = front.fake.calls
    assert (2, 0.5, (("x-request-id", "r"),)) == (call.request.rows, call.deadline.at, call.request.headers)
    (record,) = front.records
    assert ("200", len(BODY), len(response.body), 2, "digits") == (
        record.code,
        record.bytes_in,
        record.bytes_out,
        record.rows,
        record.model,
    )


def test_what_needs_no_body_is_refused_before_it(front: Front) -> None:
    """Path, method, credential, model and permission are settled by the head; each refusal is a record."""
    assert (404, "path") == early(front, head("GET", "/nowhere"))
    assert 405 == early(front, head("DELETE"))[0]
    assert (404, "not-found") == early(front, head(path="/v2/models/none/infer"))
    assert (403, "forbidden") == early(front, head(authorization="other"))
    assert ["404", "405", "404", "403"] == [record.code for record in front.records]
    assert [] == front.fake.calls


@pytest.mark.parametrize("framing", [{"content_length": "262145"}, {"transfer_encoding": "chunked"}])
def test_a_long_body_waits_for_nobodys_key(front: Front, framing: dict[str, str]) -> None:
    """Of somebody who may be a stranger it is not kept: the keys are looked for, and the client told to come again."""
    front.doors.new = {"ann"}
    assert (503, "issuer-unavailable") == early(front, head(authorization="ann", **framing))
    assert front.doors.begun
    assert ["1.2.3.4"] == front.doors.peers


async def test_a_credential_that_must_be_looked_up(front: Front) -> None:
    """A token of a key not seen before waits for the keys; then everything is settled as usual."""
    front.doors.new = {"ann"}
    assert 200 == (await answer(front, head(authorization="ann"), BODY)).status
    front.doors.new = {"other"}
    assert 403 == (await answer(front, head(authorization="other"), BODY)).status
    assert ["ann", "other"] == [record.subject for record in front.records]


async def test_a_failure(front: Front) -> None:
    """Whatever kind: the protocol's error, with identity, and a record with the reason."""
    front.fake.failure = InferenceError(ErrorKind.OVERLOADED, "no room", reason="max-in-flight", retry_after=2.0)
    response = await answer(front, head(), BODY)
    headers = dict(response.headers)
    assert (503, "max-in-flight", "2", "id-1", "v1") == (
        response.status,
        *(headers[name] for name in ("x-penstock-error", "retry-after", "x-request-id", "x-penstock-policy")),
    )
    assert ("default", "total;dur") == (headers["x-penstock-route"], headers["server-timing"].partition("=")[0])
    unrouted = dict((await answer(front, head(x_request_timeout_ms="soon"), BODY)).headers)
    assert not {"x-penstock-route", "server-timing"} & set(unrouted)
    assert ("503", "max-in-flight", "default") == (front.records[0].code, front.records[0].reason, front.records[0].route)


async def test_two_versions_at_once(front: Front) -> None:
    """The header may repeat the path's version, or name one where it has none; another is refused, in descriptions, too."""
    for path in ("/versions/3/infer", "/versions/3", "/versions/3/ready"):
        method = "POST" if path.endswith("infer") else "GET"
        asked = head(method, f"/v2/models/digits{path}", x_model_version="2")
        response = await answer(front, asked, BODY)
        assert (400, "version") == (response.status, dict(response.headers)["x-penstock-error"])
    assert ([], []) == (front.fake.calls, front.fake.backend.asked)
    await answer(front, head(path="/v2/models/digits/versions/3/infer", x_model_version="3"), BODY)
    await answer(front, head(x_model_version="4"), BODY)
    await answer(front, head("GET", "/v2/models/digits/config", x_model_version="5"))
    assert ["3", "4"] == [call.request.version for call in front.fake.calls]
    assert ("config", "b_fast", "5") == front.fake.backend.asked[-1]


async def test_a_client_that_leaves(front: Front) -> None:
    """A cancelled request is recorded as 499, and the cancellation goes on."""
    front.fake.failure = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await answer(front, head(), BODY)
    assert [("499", "client-left")] == [(record.code, record.reason) for record in front.records]


def test_the_edge_s_own_refusals(front: Front) -> None:
    """A request that the edge would not take is told in the same words, whether its head is known or not."""
    http = HttpFront(front.parts())
    error = InferenceError(ErrorKind.TOO_LARGE, "too long", reason="body")
    known, unknown = http.refuse(error, 413, head(x_request_id="r")), http.refuse(error, 431, None)
    assert [(413, "r"), (431, "id-2")] == [(each.status, dict(each.headers)["x-request-id"]) for each in (known, unknown)]
    assert [("413", INFER, "body"), ("431", "", "body")] == [(each.code, each.path, each.reason) for each in front.records]
    assert min(record.seconds for record in front.records) >= 0


async def test_probes(front: Front) -> None:
    """Living needs nothing; being ready is this process's own word, and no credential is asked for."""
    front.doors.new = {""}
    for path, status in (("live", 200), ("ready", 200)):
        assert status == (await answer(front, head("GET", f"/v2/health/{path}"))).status
    front.is_ready = False
    response = await answer(front, head("GET", "/v2/health/ready"))
    assert (503, "not-ready") == (response.status, dict(response.headers)["x-penstock-error"])
    assert 200 == (await answer(front, head("GET", "/v2/health/live"))).status


async def test_descriptions(front: Front) -> None:
    """Each path its own question to the data plane."""
    assert server_metadata() == json.loads(bytes((await answer(front, head("GET", "/v2"))).body))
    for path, what in (("", "metadata"), ("/config", "config"), ("/stats", "stats"), ("/ready", "ready")):
        assert 200 == (await answer(front, head("GET", f"/v2/models/digits{path}"))).status
        assert what in [asked[0] for asked in front.fake.backend.asked]
    every = json.loads(bytes((await answer(front, head("GET", "/v2/models/stats"))).body))["model_stats"]
    assert ["digits", "digits"] == [each["name"] for each in every]
    assert "digits" == json.loads(bytes((await answer(front, head(path="/v2/repository/index"))).body))[0]["name"]


async def test_made_up_paths_take_no_memory(front: Front) -> None:
    """What is remembered of paths is bounded."""
    http = HttpFront(front.parts())
    for number in range(5000):
        http.admit(head("GET", f"/v2/models/m{number}"))
    assert 4096 >= len(http._operations)


def test_bodies_and_answers_that_clients_left_are_counted(front: Front) -> None:
    """Also a request that ended before it was whole; other refusals are the edge's own doing."""
    told: list[str] = []
    http = HttpFront(dataclasses.replace(front.parts(), left=told.append))
    http.left("answer")
    for reason in ("incomplete", "framing"):
        http.refuse(InferenceError(ErrorKind.INVALID, "x", reason=reason), 400, None)
    assert ["answer", "body"] == told
