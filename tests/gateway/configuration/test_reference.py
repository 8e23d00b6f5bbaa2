"""Tests of gateway.configuration.reference: the page says what the schema says."""

from __future__ import annotations

import re

import msgspec
import pytest

from gateway.configuration.fragments import Schema
from gateway.configuration.json_schema import json_schema
from gateway.configuration.reference import Page, reference
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.configuration.schema_policy import PolicyDocument

PAGE = Page("Title", "file.yaml", "penstock policy schema")
SCHEMA = json_schema(PolicyDocument, "policy")
TEXT = reference(SCHEMA, PAGE)


def row(key: str, section: str) -> list[str]:
    """The cells of a key's row in a section: key, what, written as, default."""
    lines = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0].splitlines()
    (line,) = (each for each in lines if each.startswith((f"| `{key}` |", f"| **`{key}`** |")))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_begins_with_what_it_is() -> None:
    """Its title, its file, and that nobody should edit it."""
    assert TEXT.startswith("# Title\n\nEvery key of `file.yaml`, written by `penstock policy schema --reference`")


@pytest.mark.parametrize("document", [PolicyDocument, GatewayDocument])
def test_every_key_has_its_row(document: type[msgspec.Struct]) -> None:
    """In a table of its object, as many rows as keys."""
    schema = json_schema(document, "title")
    objects: list[Schema] = [schema, *schema["$defs"].values()]
    rows = [re.match(r"\| \**`([a-z0-9_]+)`", line) for line in reference(schema, PAGE).splitlines()]
    assert [key for each in objects for key in each["properties"]] == [found[1] for found in rows if found]


@pytest.mark.parametrize(
    ("key", "section", "written", "default"),
    [
        ("max_in_flight", "Backend", "a whole number from 1", "`256`"),
        ("balance", "Backend", "`least-request`, `round-robin` or `hash`", "`least-request`"),
        ("timeout", "Model", "a duration: `500us`, `150ms`, `2s`, `1.5m`, `24h`", "`30s`"),
        ("variants", "Model", "for each name: [variant](#variant)", ""),
        ("routes", "Model", "a list: [route](#route)", ""),
        ("match", "Route", "[match](#match)", ""),
        ("unit", "Route", "`tenant`, `subject`, `request` or `header:<name>`", ""),
        ("sample", "Route", "a share: `5%`, `0.1%`, `100%`", "`0%`"),
        ("header", "Match", "for each header's name: text as a header carries it: `'1'`", ""),
        ("not", "Match", "[match](#match)", ""),
        ("request", "Policy test", "[request](#request)", ""),
    ],
)
def test_says_how_a_value_is_written(key: str, section: str, written: str, default: str) -> None:
    """In words, with examples and the default; another object by a link to its own table."""
    assert [written, default] == row(key, section)[2:]


def test_what_must_be_there_is_bold() -> None:
    """And what may be left out is not."""
    assert "**`endpoints`**" == row("endpoints", "Backend")[0]
    assert "`balance`" == row("balance", "Backend")[0]


def test_says_where_an_object_stands() -> None:
    """Below its outermost place only: a match may hold another, which may hold another."""
    assert "## Match\n\nAt `models.<name>.routes[].match`. Conditions" in TEXT
    assert "## Caller\n\nAt `tests[].request.principal`. Who asks" in TEXT


def test_shows_an_example() -> None:
    """As its author wrote it."""
    assert "```yaml\nconfidence: {output: probabilities, metric: margin}\n" in TEXT


def test_an_object_at_two_places() -> None:
    """Both are named."""
    place = {"$ref": "#/$defs/Inner"}
    inner = {"description": "Something.", "properties": {}}
    top = {"description": "All.", "properties": {key: {**place, "description": "It."} for key in ("a", "b")}}
    assert "## Inner\n\nAt `a` or `b`. Something." in reference({**top, "$defs": {"Inner": inner}}, PAGE)


def test_tables_stay_tables() -> None:
    """No cell holds a bar that would end it."""
    assert {4} == {line.count("|") - 1 for line in TEXT.splitlines() if line.startswith("|")}
