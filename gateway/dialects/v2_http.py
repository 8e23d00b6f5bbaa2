"""The Open Inference Protocol over HTTP: which path asks for what, and what every kind of error looks like to its clients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, assert_never

from backends.errors import ErrorKind, InferenceError, invalid
from backends.protocols.v2_http import JSON, error_body
from gateway.dialects.reply import public_text, whole_seconds
from gateway.edge.messages import HttpResponse

Kind = Literal["server", "live", "ready", "infer", "metadata", "model-ready", "config", "stats", "index", "feedback"]
NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,128}")
_MODEL_PATHS: dict[tuple[str, ...], tuple[str, Kind]] = {
    (): ("GET", "metadata"),
    ("ready",): ("GET", "model-ready"),
    ("config",): ("GET", "config"),
    ("stats",): ("GET", "stats"),
    ("infer",): ("POST", "infer"),
}
_FIXED_PATHS: dict[str, tuple[str, Kind]] = {
    "/v2": ("GET", "server"),
    "/v2/health/live": ("GET", "live"),
    "/v2/health/ready": ("GET", "ready"),
    "/v2/repository/index": ("POST", "index"),
    "/v2/feedback": ("POST", "feedback"),
    "/v2/models/stats": ("GET", "stats"),  # of every model: as in Triton, no model's own metadata
}
# Triton's own administration: it would let one client read another's memory or turn the server off.
_NEVER = re.compile(r"/v2/(systemsharedmemory|cudasharedmemory|trace|logging|repository/models|models/[^/]*/trace)(/|\Z)")


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method and path ask for; `model` and `version` are empty where the path has none."""

    kind: Kind
    model: str = ""
    version: str = ""


class WrongMethodError(InferenceError):
    """The path exists, for other methods: those in `allow`."""

    def __init__(self, allow: str) -> None:
        super().__init__(ErrorKind.METHOD, f"this path takes {allow}", source="client")
        self.allow = allow


def operation(method: str, path: str) -> Operation:
    """The operation. Raises NOT_FOUND, METHOD (with what would work) or FORBIDDEN."""
    if path in _FIXED_PATHS:
        wanted, kind = _FIXED_PATHS[path]
        return _method(method, wanted, Operation(kind))
    if _NEVER.match(path):
        raise InferenceError(
            ErrorKind.FORBIDDEN, "shared memory, repository control, trace and log settings are never passed on", source="client"
        )
    match path.split("/"):
        case ["", "v2", "models", model, "versions", version, *rest] if version.strip("."):
            if not NAME.fullmatch(version):
                raise invalid("the path names no version: versions are whole numbers from 1, without a sign", "version")
        case ["", "v2", "models", model, *rest]:
            version = ""
        case _:
            raise _unknown_path()
    found = _MODEL_PATHS.get(tuple(rest))
    if found is None or not NAME.fullmatch(model):
        raise _unknown_path()
    return _method(method, found[0], Operation(found[1], model, version))


def _method(method: str, wanted: str, operation: Operation) -> Operation:
    if method != wanted and not (method == "HEAD" and wanted == "GET"):
        raise WrongMethodError("GET, HEAD" if wanted == "GET" else wanted)
    return operation


def _unknown_path() -> InferenceError:
    return InferenceError(
        ErrorKind.NOT_FOUND,
        "no such path; inference is POST /v2/models/{model}[/versions/{version}]/infer",
        source="client",
        reason="path",
    )


def status(kind: ErrorKind) -> int:
    """The HTTP status of an error's kind (CONTRACT.md, response headers)."""
    match kind:
        case ErrorKind.INVALID:
            return 400
        case ErrorKind.UNAUTHENTICATED:
            return 401
        case ErrorKind.FORBIDDEN:
            return 403
        case ErrorKind.NOT_FOUND:
            return 404
        case ErrorKind.METHOD:
            return 405
        case ErrorKind.SLOW:
            return 408
        case ErrorKind.TOO_LARGE:
            return 413
        case ErrorKind.UNSUPPORTED:
            return 415
        case ErrorKind.LIMITED:
            return 429
        case ErrorKind.INTERNAL:
            return 500
        case ErrorKind.BROKEN:
            return 502
        case ErrorKind.OVERLOADED | ErrorKind.UNAVAILABLE:
            return 503
        case ErrorKind.DEADLINE:
            return 504
        case _:
            assert_never(kind)


def error_response(error: InferenceError, code: int, headers: tuple[tuple[str, str], ...] = ()) -> HttpResponse:
    """The error as the protocol's own body with the bounded reason beside it."""
    extra: list[tuple[str, str]] = [("content-type", JSON), ("x-penstock-error", error.reason)]
    if code in (429, 503):
        extra.append(("retry-after", whole_seconds(error.retry_after or 1.0)))
    if code == 401:
        extra.append(("www-authenticate", 'Bearer realm="penstock"'))
    if isinstance(error, WrongMethodError):
        extra.append(("allow", error.allow))
    return HttpResponse(code, (*headers, *extra), error_body(public_text(error)))
