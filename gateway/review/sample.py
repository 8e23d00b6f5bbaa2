"""A written or recorded request as the serving code takes it, so that every review can ask the serving code itself."""

from __future__ import annotations

from backends.inference import InferenceRequest, Tensors, TensorSpec
from gateway.configuration.schema_tests import Sample
from gateway.dataplane import Inquiry
from gateway.dialects.reply import client_timeout, request_id, version_asked
from routing.principal import Principal


def headers_of(sample: Sample) -> dict[str, str]:
    """Its headers as the edge hands them on: names in lower case, id and priority where a client would put them."""
    said = {"x-request-id": sample.request_id} if sample.request_id else {}
    if sample.priority is not None:
        said["x-priority"] = str(sample.priority)
    return {**said, **{name.lower(): value for name, value in sample.headers.items()}}


def principal_of(sample: Sample) -> Principal:
    """Who asks."""
    caller = sample.principal
    return Principal(caller.subject, caller.tenant, caller.tier, frozenset(caller.scopes))


def inquiry_of(sample: Sample) -> Inquiry:
    """What a front would know of the request beside its tensors. Raises INVALID where the front would."""
    headers = headers_of(sample)
    return Inquiry(principal_of(sample), headers, request_id(headers, ""), 0.0, client_timeout(headers))


def request_of(sample: Sample) -> InferenceRequest:
    """The request without what is in its tensors. Raises INVALID where a front would."""
    inputs = () if sample.rows is None else (TensorSpec("rows", "BOOL", (sample.rows,)),)
    version = version_asked(sample.version, headers_of(sample))
    return InferenceRequest(sample.model, version, "", sample.parameters, inputs, (), Tensors(()))
