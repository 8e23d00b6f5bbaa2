"""Tests of gateway.configuration.descriptions: every key has its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest

from gateway.configuration.decode import Findings, decode
from gateway.configuration.descriptions import DESCRIPTIONS, EXAMPLES
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.yaml_source import parse


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """Every Struct that a document of this kind may hold, itself first; found in the types, values of readers left out."""
    seen, waiting = set[Any](), [kind]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each not in seen:
            seen.add(each)
            yield each
            waiting += [field.type for field in msgspec.structs.fields(each)]
        elif get_origin(each) is not Annotated:
            waiting += get_args(each)


STRUCTS = [each for document in (PolicyDocument, GatewayDocument) for each in _structs(document)]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_key_is_described(struct: type[msgspec.Struct]) -> None:
    """Each once, in a sentence, and no key that is not there."""
    told = DESCRIPTIONS[struct]
    assert {field.encode_name for field in msgspec.structs.fields(struct)} == set(told)
    assert [] == [text for text in told.values() if not text.endswith(".") or "|" in text or "\n" in text]


def test_nothing_else_is_described() -> None:
    """A type that is gone takes its lines with it."""
    assert set(STRUCTS) == set(DESCRIPTIONS)


@pytest.mark.parametrize("struct", EXAMPLES, ids=lambda struct: struct.__name__)
def test_examples_are_read(struct: type[msgspec.Struct]) -> None:
    """What the reference page and the editor show is accepted by the loader."""
    found = Findings(parse(EXAMPLES[struct].encode(), "example"))
    assert isinstance(decode(found, struct), struct)
    assert [] == found.problems
