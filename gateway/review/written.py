"""Requests as people write them, in a file or in words of a command line: read, and made what the serving code takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from backends.inference import InferenceRequest, Tensors, TensorSpec
from gateway.configuration.decode import Findings, decode
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_tests import Request
from gateway.configuration.yaml_source import Source, Value, survey
from gateway.dataplane import Inquiry
from gateway.dialects.reply import client_timeout, request_id, version_asked
from routing.principal import Principal

Words = Mapping[tuple[str, ...], Value]  # where in a request, and what shall stand there


def read_request(text: bytes | None, name: str, words: Words) -> Request:
    """The request in `text` (JSON or YAML; None for none) with `words` put over it. Raises PolicyError and nothing else."""
    source = Source(name, {}, {}) if text is None else survey(text, name)
    value = source.value if source.value is not None else {}
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if each != {}}  # as programs say that there is nothing
        for path, word in words.items():
            value = _put(value, path, word)
    found = Findings(replace(source, value=value))
    written = decode(found, Request)
    if written is None or found.problems:
        raise PolicyError(name, found.problems)
    return written


def headers_of(written: Request) -> dict[str, str]:
    """Its headers as the edge hands them on: names in lower case, id and priority where a client would put them."""
    said = {"x-request-id": written.request_id} if written.request_id else {}
    if written.priority is not None:
        said["x-priority"] = str(written.priority)
    return {**said, **{name.lower(): value for name, value in written.headers.items()}}


def principal_of(written: Request) -> Principal:
    """Who asks."""
    caller = written.principal
    return Principal(caller.subject, caller.tenant, caller.tier, frozenset(caller.scopes))


def inquiry_of(written: Request) -> Inquiry:
    """What a front would know of the request beside its tensors. Raises INVALID where the front would."""
    headers = headers_of(written)
    return Inquiry(principal_of(written), headers, request_id(headers, ""), 0.0, client_timeout(headers))


def inference_of(written: Request) -> InferenceRequest:
    """The request without what is in its tensors. Raises INVALID where a front would."""
    inputs = () if written.rows is None else (TensorSpec("rows", "BOOL", (written.rows,)),)
    version = version_asked(written.version, headers_of(written))
    return InferenceRequest(written.model, version, "", written.parameters, inputs, (), Tensors(()))


def _put(value: dict[str, Value], path: tuple[str, ...], word: Value) -> dict[str, Value]:
    first, *rest = path
    if not rest:
        return {**value, first: word}
    inner = value.get(first)
    return {**value, first: _put(inner if isinstance(inner, dict) else {}, tuple(rest), word)}
