"""Tests of gateway.configuration.json_schema: what it refuses is what the loader refuses, and the other way round."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, get_args, get_origin

import jsonschema
import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.configuration import (
    readers,
    readers_confidence,
    schema_cascade,
    schema_gateway,
    schema_policy,
    schema_prompts,
    schema_tests,
)
from gateway.configuration.decode import Findings, decode
from gateway.configuration.fragments import fragment
from gateway.configuration.json_schema import DIALECT, json_schema
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.yaml_source import Source, parse
from tests.docs.pages import ROOT, blocks
from tests.gateway.configuration.test_descriptions import STRUCTS

DOCUMENTS: dict[str, type[msgspec.Struct]] = {"policy": PolicyDocument, "gateway": GatewayDocument}
SCHEMAS = {name: json_schema(document, name) for name, document in DOCUMENTS.items()}
VALIDATORS = {name: jsonschema.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
FILES = sorted((*(ROOT / "config").glob("*.yaml"), *(ROOT / "config" / "examples").glob("*.yaml")))
NAMES = st.sampled_from(["a", "fast", "accurate-v2", "x-experiment", "7"])
OTHERS: dict[object, st.SearchStrategy[Any]] = {
    readers.read_words: NAMES | st.lists(NAMES, min_size=1, max_size=2),
    schema_policy.read_unit: st.sampled_from(["tenant", "header:x-a"]),
    readers_confidence.read_metric: st.sampled_from(["margin", "output:a b", "json:$.a[0]"]),
    schema_cascade.read_knot: st.tuples(st.floats(0, 1), st.floats(0, 1)).map(list),
    schema_gateway.read_otlp: st.none(),
    schema_prompts.read_score: st.sampled_from([0, 0.25, 0.625, 1]),
    schema_prompts.read_sha256: st.just("ab" * 32),
    readers.read_number: st.floats(0, 1),
    schema_tests.read_parameter: NAMES | st.booleans() | st.floats(0, 1) | st.integers(0, 9),
}
COUNT = st.sampled_from([1, 1, 2])
# Put where something else belongs: other kinds, and units that there are none of.
WRONG: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**13,
    "",
    "x",
    "5 parsecs",
    "10%%",
    "1..",
    "0..8",
    "host:99999",
    [],
    {},
    ["x"],
    {"x": "x"},
    [[]],
)


def refused(name: str, value: Any) -> list[str]:
    """What the loader says of the document's structure, its meaning left out."""
    found = Findings(Source("document", value, {}))
    decode(found, DOCUMENTS[name])
    return [f"{problem.path}: {problem.message}" for problem in found.problems]


def agree(name: str, value: Any) -> None:
    """The loader and an independent validator accept the document, both or neither.

    What only counting shows (a year's length, a part of a byte, a range that runs backwards) is not tried here: it stands in
    the exceptions of test_fragments.py. Neither are two header names that differ in case alone, which no schema can see.
    """
    loader = refused(name, value)
    errors = [f"{error.json_path}: {error.message}" for error in VALIDATORS[name].iter_errors(value)]
    assert bool(loader) == bool(errors), (value, loader, errors)


@pytest.mark.parametrize("name", SCHEMAS)
def test_is_a_schema(name: str) -> None:
    """Of the dialect that it names, as its own meta-schema says."""
    assert DIALECT == SCHEMAS[name]["$schema"]
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_accepts_the_repositorys_files(path: Any) -> None:
    """The configuration and every example."""
    value = parse(path.read_bytes(), path.name).value
    name = "gateway" if path.name == "gateway.yaml" else "policy"
    assert [] == refused(name, value)
    agree(name, value)


@pytest.mark.parametrize("block", blocks("yaml policy", "yaml mistaken", "yaml gateway"), ids=str)
def test_judges_the_pages_as_the_loader_does(block: Any) -> None:
    """The policies that the pages show, the mistaken ones among them."""
    agree("gateway" if block.kind == "yaml gateway" else "policy", parse(block.text.encode(), str(block)).value)


@st.composite
def documents(draw: st.DrawFn, document: type[msgspec.Struct]) -> Any:
    """Values that the loader accepts for a document, made from its types; the deeper, the fewer keys that may be left out."""

    def make(kind: Any, depth: int) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return draw(_plain(arguments[1]))
        if kind in (str, bool):
            return draw(NAMES if kind is str else st.booleans())
        if origin is tuple:
            return [make(arguments[0], depth + 1) for _ in range(draw(COUNT))]
        if origin is Mapping:
            return {make(arguments[0], depth): make(arguments[1], depth + 1) for _ in range(draw(COUNT))}
        if origin is not None or not hasattr(kind, "__struct_fields__"):  # T | None
            return make(arguments[0], depth) if draw(st.booleans()) else None
        fields = msgspec.structs.fields(kind)
        return {
            each.encode_name: make(each.type, depth + 1)
            for each in fields
            if each.required or not draw(st.integers(0, depth // 3))
        }

    return make(document, 0)


@cache
def _plain(reader: object) -> st.SearchStrategy[Any]:
    """What a reader accepts, the simplest of it; its fragment is proven in test_fragments.py."""
    schema = fragment(reader).schema
    for key in ("examples", "enum", "const"):
        if key in schema:
            return st.sampled_from([schema[key]] if key == "const" else schema[key])
    if "minimum" in schema:
        return st.integers(schema["minimum"], min(schema["maximum"], 99))
    return OTHERS.get(reader, NAMES)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document, itself first."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(inner, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_accepts_whatever_loads(name: str) -> None:
    """Documents of every shape that the types allow."""

    @given(documents(DOCUMENTS[name]))
    def try_one(value: Any) -> None:
        loader = refused(name, value)
        assert [] == [each for each in loader if "same name" not in each]
        assert loader or [] == list(VALIDATORS[name].iter_errors(value))

    try_one()


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_refuses_one_mistake_as_the_loader_does(name: str) -> None:
    """Another kind of value, an empty one, an unknown key, a missing one, no name, no unit: at any place of any document."""

    @settings(max_examples=200)
    @given(documents(DOCUMENTS[name]), st.data())
    def try_one(value: Any, chosen: st.DataObject) -> None:
        assume(not refused(name, value))
        mistaken = copy.deepcopy(value)
        path = chosen.draw(st.sampled_from(list(_places(mistaken))), "place")
        whole = {"": mistaken}
        around, key = _at(whole, ("", *path)[:-1]), ("", *path)[-1]
        match chosen.draw(st.sampled_from(["wrong", "empty", "unknown", "renamed", "missing"]), "mistake"):
            case "empty" if isinstance(around[key], dict | list):
                around[key] = type(around[key])()
            case "unknown" if isinstance(around[key], dict):
                around[key]["timout"] = chosen.draw(st.sampled_from(WRONG), "value")
            case "renamed" if path and isinstance(around, dict):
                around[chosen.draw(st.sampled_from(["no name!", "", "cookie", "namë"]), "key")] = around.pop(key)
            case "missing" if path:
                del around[key]
            case _:
                around[key] = copy.deepcopy(chosen.draw(st.sampled_from(WRONG), "value"))
        agree(name, whole[""])

    try_one()


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stands in for something that was never described."""

    LATER: ClassVar[frozenset[str]] = frozenset({"later"})
    word: str = ""


def test_a_key_without_a_description() -> None:
    """Is a defect, so that nobody meets a key that nobody explained."""
    with pytest.raises(KeyError):
        json_schema(Inner, "inner")


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_defaults_are_those_that_load(struct: Any) -> None:
    """Written into the document, each changes nothing."""
    properties = json_schema(struct, "one")["properties"]
    for field in msgspec.structs.fields(struct):
        if "default" in properties[field.encode_name]:
            found = Findings(Source("default", {"x": properties[field.encode_name]["default"]}, {}))
            read = decode(found, msgspec.defstruct("One", [("x", field.type)]))
            assert (field.default,) == msgspec.structs.astuple(read), field.name  # type: ignore[arg-type]


def test_what_comes_later_is_not_in_it() -> None:
    """An editor offers only what works: keys and words of later versions are refused."""
    assert ["triton-http", "triton-grpc"] == SCHEMAS["policy"]["$defs"]["Backend"]["properties"]["protocol"]["enum"]
