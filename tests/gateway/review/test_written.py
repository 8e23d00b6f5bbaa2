"""Requests as people write them."""

from __future__ import annotations

import msgspec
import pytest

from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_tests import Caller, Sample
from gateway.configuration.yaml_source import Value
from gateway.review.written import read_sample

JSON = b"""{
\t"model": "digits",
\t"principal": {"tier": "free", "tenant": "acme"},
\t"headers": {"x-a": "1"}
}"""


def test_a_file_of_json() -> None:
    """JSON is YAML; tabs too."""
    assert Sample("digits", Caller(tenant="acme", tier="free"), headers={"x-a": "1"}) == read_sample(JSON, "r.json", {})


def test_words_stand_over_the_file() -> None:
    """What is said beside the file counts; what is not said of a part stays."""
    words: dict[tuple[str, ...], Value] = {("principal", "tier"): "gold", ("rows",): 3, ("parameters", "p"): True}
    expected = Sample("digits", Caller(tenant="acme", tier="gold"), rows=3, headers={"x-a": "1"}, parameters={"p": True})
    assert expected == read_sample(JSON, "r.json", words)


def test_words_alone() -> None:
    """A request needs no file, and a file may be empty."""
    for text in (None, b""):
        assert Sample("digits", Caller(tier="gold")) == read_sample(
            text, "r", {("model",): "digits", ("principal", "tier"): "gold"}
        )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b'{\n "modle": "digits"}', 2, "unknown key 'modle'"),
        (b'{"model": "digits",\n "rows": "4"}', 2, "'4' is not a whole number of at least 0"),
        (b'["digits"]', 1, "must be a mapping"),
        (b'{"model": "digits"', 1, "not valid YAML"),
        (b'{"principal": 3}', 1, "must be a mapping"),
    ],
)
def test_mistakes_have_lines(text: bytes, line: int, message: str) -> None:
    """As those of a policy."""
    with pytest.raises(PolicyError) as caught:
        read_sample(text, "r.json", {})
    assert line in [problem.line for problem in caught.value.problems if message in problem.message]


def test_a_word_may_be_wrong_too() -> None:
    """It is refused like what stands in a file."""
    with pytest.raises(PolicyError, match="not a priority"):
        read_sample(JSON, "r.json", {("priority",): 11})


def test_what_a_program_writes_is_read_again() -> None:
    """With everything that there is not said to be so."""
    for sample in (Sample("digits"), Sample("digits", Caller("ann"), None, {"x-a": "1"}, {"p": 2.5}, "1", 3, 5, {"t": 7}, "r")):
        assert sample == read_sample(msgspec.json.encode(sample), "r.json", {})
