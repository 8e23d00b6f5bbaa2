"""A corpus of small YAML files, the edges of YAML 1.1 and 1.2: each is read as exactly what is written here, or refused."""

from __future__ import annotations

from itertools import chain

import pytest

from gateway.configuration.load import load_gateway, load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.yaml_source import Value, parse
from tests.gateway.configuration.yaml_corpus.files import READ, REFUSED
from tests.gateway.configuration.yaml_corpus.scalars import BLOCK, PLAIN, QUOTED

SCALARS: list[tuple[str, Value]] = [*PLAIN, *QUOTED]
FILES = {
    text if isinstance(text, bytes) else text.encode()
    for text in chain(
        (f"a: {scalar}\n" for scalar, _ in SCALARS),
        (text for text, _ in BLOCK),
        (text for text, _ in READ),
        (text for text, _, _ in REFUSED),
    )
}


def short(text: object) -> str:
    """A name for a test."""
    return repr(text)[:40] if isinstance(text, str | bytes) else ""


def exactly(expected: Value, text: bytes | str) -> bool:
    """Whether the file holds the value, of the same type everywhere: for Python alone, 1, 1.0 and True are equal."""
    value = parse(text if isinstance(text, bytes) else text.encode(), "file.yaml").value
    return repr(expected) == repr(value)


def test_size() -> None:
    """It has more than 300 files."""
    assert len(FILES) > 300


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=short)
def test_scalars(text: str, value: Value) -> None:
    """A scalar means the same as a value of a mapping, on a line of its own, in a list and behind another key."""
    assert exactly({"a": value}, f"a: {text}\n")
    inner = text.replace("\n ", "\n      ")
    assert exactly({"a": value, "b": [value]}, f"a: {text}\nb:\n- {inner}\n")
    assert exactly([value, {"a": {"b": value}}], f"- {inner}\n- a:\n   b: {inner}")


@pytest.mark.parametrize(("text", "value"), BLOCK, ids=short)
def test_blocks(text: str, value: str) -> None:
    """A block scalar is text, with the line breaks that YAML 1.2 gives it."""
    assert exactly({"a": value}, text)


@pytest.mark.parametrize(("text", "value"), READ, ids=short)
def test_read(text: bytes | str, value: Value) -> None:
    """What can mean one thing alone is read."""
    assert exactly(value, text)


@pytest.mark.parametrize(("text", "line", "what"), REFUSED, ids=short)
def test_refused(text: bytes | str, line: int, what: str) -> None:
    """What cannot is refused on its line, in words."""
    with pytest.raises(PolicyError) as refused:
        parse(text if isinstance(text, bytes) else text.encode(), "file.yaml")
    assert (line, True) in [(problem.line, what in problem.message) for problem in refused.value.problems]


def test_none_of_them_is_a_policy() -> None:
    """As a policy every one of them is refused, as a process's configuration it is read or refused; nothing else happens."""
    for text in FILES:
        with pytest.raises(PolicyError):
            load_policy(text, "file.yaml")
        assert _read_or_refused(text)


def _read_or_refused(text: bytes) -> bool:
    try:
        load_gateway(text, "file.yaml")
    except PolicyError as error:
        return bool(error.problems)
    return True
