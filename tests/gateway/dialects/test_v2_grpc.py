"""Statuses, metadata and descriptions as gRPC clients see them."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2

from backends.errors import ErrorKind, InferenceError
from backends.protocols.v2_grpc import plain
from gateway.dialects import v2_grpc as dialect


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_failure_has_a_status(kind: ErrorKind) -> None:
    """No kind of failure is told as success or as one nobody knows."""
    assert dialect.status_of(kind) not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (ErrorKind.INVALID, grpc.StatusCode.INVALID_ARGUMENT),
        (ErrorKind.UNAUTHENTICATED, grpc.StatusCode.UNAUTHENTICATED),
        (ErrorKind.FORBIDDEN, grpc.StatusCode.PERMISSION_DENIED),
        (ErrorKind.NOT_FOUND, grpc.StatusCode.NOT_FOUND),
        (ErrorKind.LIMITED, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (ErrorKind.OVERLOADED, grpc.StatusCode.UNAVAILABLE),
        (ErrorKind.BROKEN, grpc.StatusCode.UNAVAILABLE),
        (ErrorKind.DEADLINE, grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_statuses(kind: ErrorKind, status: grpc.StatusCode) -> None:
    """Clients can tell their own mistakes from ours, and what to try again from what not to."""
    assert status == dialect.status_of(kind)


def test_trailers() -> None:
    """An error's bounded reason goes along, and when to come back in whole seconds, never too early."""
    assert dialect.trailers(InferenceError(ErrorKind.INVALID, "text")) == (("x-penstock-error", "invalid"),)
    limited = InferenceError(ErrorKind.LIMITED, "text", reason="quota", retry_after=1.2)
    assert dialect.trailers(limited) == (("x-penstock-error", "quota"), ("retry-after", "2"))


def test_outgoing() -> None:
    """Headers become lower-case metadata that gRPC can carry, whatever is in them."""
    headers = [("X-Penstock-Escalation", "fast→accurate"), ("Cache-Status", "penstock; fwd=miss"), ("X-Name", "100% é\n")]
    expected = (
        ("x-penstock-escalation", "fast->accurate"),
        ("cache-status", "penstock; fwd=miss"),
        ("x-name", "100%25 %C3%A9%0A"),
    )
    assert expected == dialect.outgoing(headers)


def test_incoming() -> None:
    """Repeated names are joined; binary values and names that only the gateway may say are dropped."""
    metadata: list[tuple[str, str | bytes]] = [("a", "1"), ("b", "2"), ("a", "3"), ("x-penstock-route", "x"), ("c-bin", b"\x00")]
    assert dialect.incoming(metadata) == {"a": "1, 3", "b": "2"}


def test_descriptions_come_back_as_they_were() -> None:
    """What the HTTP form says of a model is said the same over gRPC; what gRPC has no field for is left out."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 64]}
    metadata = {"name": "m", "versions": ["1"], "platform": "p", "inputs": [tensor], "outputs": []}
    assert metadata == plain(dialect.described("metadata", {**metadata, "properties": {"a": 1}}))
    stats = plain(dialect.described("stats", {"model_stats": [{"name": "m", "version": "1", "inference_count": 2**40}]}))
    assert stats["model_stats"][0]["inference_count"] == 2**40
    config = dialect.described("config", {"name": "m", "max_batch_size": 8, "input": [{"name": "x", "data_type": "TYPE_FP32"}]})
    assert MessageToDict(config.config) == {"name": "m", "maxBatchSize": 8, "input": [{"name": "x", "dataType": "TYPE_FP32"}]}


def test_a_description_that_does_not_fit_is_the_backends_error() -> None:
    """A backend that describes itself in the wrong types is broken, not the gateway."""
    with pytest.raises(InferenceError) as caught:
        dialect.described("metadata", {"name": 5})
    assert caught.value.kind == ErrorKind.BROKEN


def test_the_index_may_be_of_ready_models_only() -> None:
    """A client that asks for the ready ones gets only those."""
    models = [{"name": "a", "state": "READY"}, {"name": "b", "state": "UNAVAILABLE", "reason": "r"}]
    assert [model.name for model in dialect.indexed(models, only_ready=False).models] == ["a", "b"]
    assert [model.name for model in dialect.indexed(models, only_ready=True).models] == ["a"]


def test_stream_errors() -> None:
    """A question that fails within a stream is told by text, with its id."""
    message = service_pb2.ModelStreamInferResponse.FromString(
        dialect.stream_error(InferenceError(ErrorKind.INVALID, "wrong shape"), "q")
    )
    assert (message.error_message, message.infer_response.id) == ("wrong shape", "q")
