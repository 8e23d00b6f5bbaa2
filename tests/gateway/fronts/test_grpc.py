"""The application behind the gRPC port, without a socket: the same questions, and what every ending leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest
from gateway.edge.grpc import GrpcHead
from gateway.fronts.grpc import GrpcFront

if TYPE_CHECKING:
    from tests.gateway.fronts.conftest import Front

Make = Callable[..., InferenceRequest]


def head(deadline: float | None = None, **metadata: str) -> GrpcHead:
    given = {name.replace("_", "-"): value for name, value in metadata.items()}
    return GrpcHead(
        given, "1.2.3.4:5", deadline, 100.0, 77, {"x-request-id": given.get("x-request-id", "made"), "x-penstock-policy": "old"}
    )


async def test_an_answer(front: Front, make_request: Make) -> None:
    """One question, one answer with its headers, one record by the status's word."""
    reply = await GrpcFront(front.parts()).infer(make_request(2), head(x_request_id="r", authorization="ann"))
    assert ("r", "fast") == tuple(dict(reply.headers)[name] for name in ("x-request-id", "x-penstock-variant"))
    assert "q" == reply.response.id
    (record,) = front.records
    assert ("OK", "GRPC", "/inference.GRPCInferenceService/ModelInfer", "ann", 2) == (
        record.code,
        record.method,
        record.path,
        record.subject,
        record.rows,
    )


@pytest.mark.parametrize(
    ("deadline", "asked", "at"),
    [(None, {}, 102.0), (0.5, {}, 100.5), (0.5, {"x_request_timeout_ms": "200"}, 100.2), (9.0, {}, 102.0)],
)
async def test_the_shortest_deadline(
    front: Front, make_request: Make, deadline: float | None, asked: dict[str, str], at: float
) -> None:
    """gRPC's own deadline counts like the header, and neither lengthens the route's."""
    await GrpcFront(front.parts()).infer(make_request(), head(deadline, **asked))
    assert at == front.fake.calls[0].deadline.at


async def test_the_version_of_the_message_or_the_metadata(front: Front, make_request: Make) -> None:
    """Either of them, or both where they agree; two different ones are INVALID, in descriptions, too."""
    grpc = GrpcFront(front.parts())
    for message, metadata in (("3", ""), ("", "4"), ("5", "5")):
        await grpc.infer(make_request(version=message), head(x_model_version=metadata))
    assert ["3", "4", "5"] == [call.request.version for call in front.fake.calls]
    asks: list[Callable[[], Any]] = [
        lambda: grpc.infer(make_request(version="3"), head(x_model_version="4")),
        lambda: grpc.describe("metadata", "digits", "3", head(x_model_version="4")),
        lambda: grpc.ready("digits", "3", head(x_model_version="4")),
    ]
    for ask in asks:
        with pytest.raises(InferenceError) as caught:
            await ask()
        assert (ErrorKind.INVALID, "version") == (caught.value.kind, caught.value.reason)
    await grpc.describe("config", "digits", "", head(x_model_version="2"))
    assert ("config", "b_dear", "2") == front.fake.backend.asked[-1]
    assert 3 == len(front.fake.calls)


async def test_a_credential_is_looked_at_once(front: Front, make_request: Make) -> None:
    """Whoever was admitted is not asked again who they are."""
    grpc = GrpcFront(front.parts())
    admitted = replace(head(authorization="ann"), principal=await grpc.admit(head(authorization="ann")))
    front.doors.new = {"ann"}  # whoever looks again would have to learn the key, and `new` would be empty
    await grpc.infer(make_request(), admitted)
    assert ("ann", {"ann"}) == (front.records[0].subject, front.doors.new)


async def test_a_failure_on_a_route_says_which(front: Front, make_request: Make) -> None:
    """The route, the version that planned it and the whole time go beside the error; one that got to no route has neither."""
    parts = front.parts()
    grpc = GrpcFront(parts)
    lost, failed = head(), head()
    with pytest.raises(InferenceError):
        await grpc.infer(make_request(model="none"), lost)
    front.fake.failure = InferenceError(ErrorKind.BROKEN, "cut")
    with pytest.raises(InferenceError):
        await grpc.infer(make_request(), failed)
    assert {"x-request-id": "made", "x-penstock-policy": "old"} == lost.told
    assert ("default", parts.plane.snapshot.version, "total;dur") == (
        failed.told["x-penstock-route"],
        failed.told["x-penstock-policy"],
        failed.told["server-timing"].partition("=")[0],
    )


@pytest.mark.parametrize(
    ("model", "who", "failure", "code"),
    [
        ("none", "ann", None, "NOT_FOUND"),
        ("digits", "other", None, "PERMISSION_DENIED"),
        ("digits", "ann", InferenceError(ErrorKind.BROKEN, "cut"), "UNAVAILABLE"),
        ("digits", "ann", InferenceError(ErrorKind.DEADLINE, "late"), "DEADLINE_EXCEEDED"),
        ("digits", "ann", asyncio.CancelledError(), "CANCELLED"),
    ],
)
async def test_every_ending_is_a_record(
    front: Front, make_request: Make, model: str, who: str, failure: BaseException | None, code: str
) -> None:
    """Of a question alone and of one in a stream."""
    front.fake.failure = failure
    grpc = GrpcFront(front.parts())
    with pytest.raises((InferenceError, asyncio.CancelledError)):
        await grpc.infer(make_request(model=model), head(authorization=who))
    with pytest.raises((InferenceError, asyncio.CancelledError)):
        _ = [reply async for reply in grpc.stream(make_request(model=model), head(authorization=who))]
    assert [code, code] == [record.code for record in front.records]


async def test_a_stream(front: Front, make_request: Make) -> None:
    """Answers as they come, each with headers; one record, at the end, of the first answer's price."""
    front.fake.protocol = "triton-grpc"
    replies = [reply async for reply in GrpcFront(front.parts()).stream(make_request(3), head())]
    assert (2, ["fast", "fast"]) == (len(replies), [dict(reply.headers)["x-penstock-variant"] for reply in replies])
    assert [("OK", 3.0, 3)] == [(record.code, record.cost, record.rows) for record in front.records]


async def test_a_stream_left_early(front: Front, make_request: Make) -> None:
    """A client that leaves after the first answer is recorded as gone."""
    front.fake.protocol = "triton-grpc"
    replies: Any = GrpcFront(front.parts()).stream(make_request(), head())
    async with aclosing(replies):
        await anext(replies)
    assert [("CANCELLED", "client-left")] == [(record.code, record.reason) for record in front.records]


async def test_a_credential_that_must_be_looked_up(front: Front, make_request: Make) -> None:
    """A token of a key not seen before waits for the keys."""
    front.doors.new = {"ann"}
    await GrpcFront(front.parts()).infer(make_request(), head(authorization="ann"))
    assert "ann" == front.records[0].subject


async def test_descriptions(front: Front) -> None:
    """As over HTTP; living and being ready need no credential, a model's readiness does."""
    grpc = GrpcFront(front.parts())
    assert "digits" == (await grpc.describe("metadata", "digits", "", head()))["name"]
    assert (True, True, True) == (await grpc.live(), await grpc.ready("", "", head()), await grpc.ready("digits", "", head()))
    assert ["digits"] == [each["name"] for each in await grpc.index(head())]
    assert "penstock" == (await grpc.server(head()))["name"]
    front.is_ready = False
    assert not await grpc.ready("", "", head())
    with pytest.raises(InferenceError):
        await grpc.ready("digits", "", head(authorization="other"))
