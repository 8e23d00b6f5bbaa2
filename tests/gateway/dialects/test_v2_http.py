"""Paths and errors of the Open Inference Protocol over HTTP."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from gateway.dialects.v2_http import NAME, Operation, error_response, operation, status


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v2", Operation("server")),
        ("GET", "/v2/health/live", Operation("live")),
        ("GET", "/v2/health/ready", Operation("ready")),
        ("POST", "/v2/repository/index", Operation("index")),
        ("GET", "/v2/models/m", Operation("metadata", "m")),
        ("GET", "/v2/models/m/versions/2", Operation("metadata", "m", "2")),
        ("GET", "/v2/models/m/ready", Operation("model-ready", "m")),
        ("GET", "/v2/models/m/config", Operation("config", "m")),
        ("GET", "/v2/models/m/versions/2/stats", Operation("stats", "m", "2")),
        ("GET", "/v2/models/stats", Operation("stats")),
        ("POST", "/v2/models/m.n-o_p/infer", Operation("infer", "m.n-o_p")),
        ("POST", "/v2/models/m/versions/2/infer", Operation("infer", "m", "2")),
        ("HEAD", "/v2/models/m", Operation("metadata", "m")),
    ],
)
def test_paths_of_the_protocol(method: str, path: str, expected: Operation) -> None:
    """Every path of CONTRACT.md's first row is known."""
    assert expected == operation(method, path)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/", ErrorKind.NOT_FOUND),
        ("GET", "/v2/", ErrorKind.NOT_FOUND),
        ("POST", "/v2/models//infer", ErrorKind.NOT_FOUND),
        ("POST", "/v2/models/../infer", ErrorKind.NOT_FOUND),
        ("POST", "/v2/models/m/versions/../infer", ErrorKind.NOT_FOUND),
        ("POST", "/v2/models/m/versions//infer", ErrorKind.NOT_FOUND),
        ("POST", "/v2/models/m%2fn/infer", ErrorKind.NOT_FOUND),
        ("POST", "/v2/models/m/infer/", ErrorKind.NOT_FOUND),
        ("POST", "/V2/models/m/infer", ErrorKind.NOT_FOUND),
        ("POST", f"/v2/models/{'m' * 129}/infer", ErrorKind.NOT_FOUND),
        ("POST", "/v2/models/mоdel/infer", ErrorKind.NOT_FOUND),
        ("GET", "/v2/models/m/infer", ErrorKind.METHOD),
        ("GET", "/v2/models/m/versions/+1", ErrorKind.INVALID),
        ("GET", f"/v2/models/m/versions/{'1' * 129}/ready", ErrorKind.INVALID),
        ("DELETE", "/v2/models/m", ErrorKind.METHOD),
        ("POST", "/v2/repository/models/m/load", ErrorKind.FORBIDDEN),
        ("GET", "/v2/systemsharedmemory/status", ErrorKind.FORBIDDEN),
        ("POST", "/v2/cudasharedmemory/region/r/register", ErrorKind.FORBIDDEN),
        ("POST", "/v2/models/m/trace/setting", ErrorKind.FORBIDDEN),
        ("POST", "/v2/logging", ErrorKind.FORBIDDEN),
    ],
)
def test_everything_else_is_refused(method: str, path: str, kind: ErrorKind) -> None:
    """Unknown paths, wrong methods and Triton's administration each get their own error."""
    with pytest.raises(InferenceError) as caught:
        operation(method, path)
    assert kind is caught.value.kind


@given(
    st.sampled_from(["GET", "POST"]),
    st.lists(st.sampled_from(["v2", "models", "versions", "infer", "..", "m", "", "%2e"])).map("/".join),
)
def test_names_that_pass_are_safe_in_a_path(method: str, path: str) -> None:
    """No path yields a name that would mean something else in a backend's path."""
    try:
        found = operation(method, "/" + path)
    except InferenceError:
        return
    assert all(NAME.fullmatch(name) for name in (found.model, found.version) if name)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_status(kind: ErrorKind) -> None:
    """No error is without a documented status."""
    assert status(kind) in {400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 502, 503, 504}


def test_error_response() -> None:
    """The body is the protocol's own, the reason and the time to come back, never too early, stand beside it."""
    response = error_response(InferenceError(ErrorKind.OVERLOADED, 'say "later"', reason="full", retry_after=2.4), 503)
    headers = dict(response.headers)
    assert json.loads(bytes(response.body)) == {"error": 'say "later"'}
    assert (headers["x-penstock-error"], headers["retry-after"], headers["content-type"]) == ("full", "3", "application/json")


def test_a_backend_s_own_note_is_left_out() -> None:
    """Triton puts the request's id in front of some texts, made up where there was none."""
    error = InferenceError(ErrorKind.INVALID, "[request id: <id_unknown>] too short")
    assert {"error": "too short"} == json.loads(bytes(error_response(error, 400).body))


def test_refusals_say_what_would_do() -> None:
    """401 names the scheme, 405 the method."""
    assert "Bearer" in dict(error_response(InferenceError(ErrorKind.UNAUTHENTICATED, "x"), 401).headers)["www-authenticate"]
    with pytest.raises(InferenceError) as caught:
        operation("GET", "/v2/models/m/infer")
    assert dict(error_response(caught.value, 405).headers)["allow"] == "POST"
