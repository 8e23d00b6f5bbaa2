"""Requests as people write them, and as the serving code takes them."""

from __future__ import annotations

import msgspec
import pytest

from backends.errors import InferenceError
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_tests import Caller, Request
from gateway.configuration.yaml_source import Value
from gateway.review.written import headers_of, inference_of, inquiry_of, principal_of, read_request
from routing.principal import Principal

JSON = b"""{
\t"model": "digits",
\t"principal": {"tier": "free", "tenant": "acme"},
\t"headers": {"x-a": "1"}
}"""


def test_a_file_of_json() -> None:
    """JSON is YAML; tabs too."""
    assert Request("digits", Caller(tenant="acme", tier="free"), headers={"x-a": "1"}) == read_request(JSON, "r.json", {})


def test_words_stand_over_the_file() -> None:
    """What is said beside the file counts; what is not said of a part stays."""
    words: dict[tuple[str, ...], Value] = {("principal", "tier"): "gold", ("rows",): 3, ("parameters", "p"): True}
    expected = Request("digits", Caller(tenant="acme", tier="gold"), rows=3, headers={"x-a": "1"}, parameters={"p": True})
    assert expected == read_request(JSON, "r.json", words)


def test_words_alone() -> None:
    """A request needs no file, and a file may be empty."""
    for text in (None, b""):
        assert Request("digits", Caller(tier="gold")) == read_request(
            text, "r", {("model",): "digits", ("principal", "tier"): "gold"}
        )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b'{\n "modle": "digits"}', 2, "unknown key 'modle'"),
        (b'{"model": "digits",\n "rows": "4"}', 2, "'4' is not a whole number of at least 0"),
        (b'model: &m digits\nrows: "4"\n', 1, "anchors"),
        (b'model: &m digits\nrows: "4"\n', 2, "'4' is not a whole number of at least 0"),
        (b'["digits"]', 1, "must be a mapping"),
        (b'{"model": "digits"', 1, "not valid YAML"),
        (b'{"principal": 3}', 1, "must be a mapping"),
    ],
)
def test_mistakes_have_lines(text: bytes, line: int, message: str) -> None:
    """As those of a policy."""
    with pytest.raises(PolicyError) as caught:
        read_request(text, "r.json", {})
    assert line in [problem.line for problem in caught.value.problems if message in problem.message]


def test_a_word_may_be_wrong_too() -> None:
    """It is refused like what stands in a file."""
    with pytest.raises(PolicyError, match="not a priority"):
        read_request(JSON, "r.json", {("priority",): 11})


def test_what_a_program_writes_is_read_again() -> None:
    """With everything that there is not said to be so."""
    for sample in (Request("digits"), Request("digits", Caller("ann"), None, {"x-a": "1"}, {"p": 2.5}, "1", 3, 5, {"t": 7}, "r")):
        assert sample == read_request(msgspec.json.encode(sample), "r.json", {})


def test_headers_are_as_the_edge_hands_them_on() -> None:
    """Lower-case names; id and priority stand where a client would put them, unless its headers say otherwise."""
    sample = Request("digits", headers={"X-A": "1"}, priority=3, request_id="r7")
    assert {"x-a": "1", "x-priority": "3", "x-request-id": "r7"} == headers_of(sample)
    assert {"x-priority": "5"} == headers_of(Request("digits", headers={"X-Priority": "5"}, priority=3))


def test_the_inquiry_has_caller_id_and_time() -> None:
    """An id that no client may give is none."""
    sample = Request(
        "digits", Caller("ann", "acme", "gold", ("a", "b")), headers={"x-request-timeout-ms": "1500"}, request_id="r7"
    )
    inquiry = inquiry_of(sample)
    assert Principal("ann", "acme", "gold", frozenset({"a", "b"})) == inquiry.principal == principal_of(sample)
    assert ("r7", 1.5) == (inquiry.request_id, inquiry.timeout)
    assert "" == inquiry_of(Request("digits", request_id="not sane!")).request_id


@pytest.mark.parametrize("rows", [None, 1, 7])
def test_rows_are_those_said(rows: int | None) -> None:
    """None where the inputs share no first dimension."""
    assert rows == inference_of(Request("digits", rows=rows)).rows


def test_the_version_is_said_once() -> None:
    """In the request or in its header, and not two."""
    assert "2" == inference_of(Request("digits", headers={"X-Model-Version": "2"})).version
    assert "2" == inference_of(Request("digits", version="2")).version
    with pytest.raises(InferenceError, match="give one of them"):
        inference_of(Request("digits", version="1", headers={"X-Model-Version": "2"}))


def test_a_timeout_that_is_none_is_refused() -> None:
    """As at the front."""
    with pytest.raises(InferenceError, match="milliseconds"):
        inquiry_of(Request("digits", headers={"x-request-timeout-ms": "soon"}))
