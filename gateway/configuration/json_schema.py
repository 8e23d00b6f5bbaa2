"""The JSON Schema (draft 2020-12) of a configuration file, made of the very types that load it: for editors and other tools.

It says what `decode` says, and as `decode` reads it: structure, words, and how values are written. What a document means
(whether a name that it uses exists, whether a route can be reached) only `penstock policy check` can judge.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from gateway.configuration.decode import read_text
from gateway.configuration.descriptions import DESCRIPTIONS, EXAMPLES
from gateway.configuration.fragments import Fragment, Schema, fragment
from gateway.configuration.yaml_source import parse

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BOOLEAN = Fragment({"type": "boolean", "title": "true or false"})


def json_schema(document: type[msgspec.Struct], title: str) -> Schema:
    """The schema of a whole document; every Struct under it is one of `$defs`, by its name."""
    definitions: dict[str, Schema] = {}
    top = _struct(document, definitions)
    return {"$schema": DIALECT, "title": title, **top, "$defs": definitions}


def _struct(struct: type[msgspec.Struct], definitions: dict[str, Schema]) -> Schema:
    fields = msgspec.structs.fields(struct)
    told, summary = DESCRIPTIONS[struct], (struct.__doc__ or "").partition("\n")[0]
    schema: Schema = {
        "type": "object",
        "description": summary,
        "properties": {each.encode_name: _field(each, told[each.encode_name], definitions) for each in fields},
        "additionalProperties": False,
    }
    required = [each.encode_name for each in fields if each.required]
    if required:
        schema["required"] = required
    if struct in EXAMPLES:
        schema["examples"] = [parse(EXAMPLES[struct].encode(), struct.__name__).value]
    return schema


def _field(field: msgspec.structs.FieldInfo, description: str, definitions: dict[str, Schema]) -> Schema:
    schema = {**_kind(field.type, definitions), "description": description}
    default = None if field.default is msgspec.NODEFAULT else _written(field.type, field.default)
    return schema if default in (None, "", []) else {**schema, "default": default}


def _kind(kind: Any, definitions: dict[str, Schema]) -> Schema:
    """As `decode._read` takes the same types apart."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _nullable(_kind(arguments[0], definitions))
    if (scalar := _scalar(kind)) is not None:
        return dict(scalar.schema)
    if origin is tuple:
        return {"type": "array", "minItems": 1, "items": _kind(arguments[0], definitions)}
    if origin is Mapping:
        names, values = (_kind(each, definitions) for each in arguments)
        return {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": values}
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # its place: a Match may hold a Match
        definitions[kind.__name__] = _struct(kind, definitions)
    reference, words = {"$ref": f"#/$defs/{kind.__name__}"}, getattr(kind, "WORDS", ())
    if alone := getattr(kind, "ALONE", ""):
        (of,) = (each.type for each in msgspec.structs.fields(kind) if each.encode_name == alone)
        return {"anyOf": [_kind(of, definitions), reference]}
    return {"anyOf": [{"enum": list(words)}, reference]} if words else reference


def _scalar(kind: Any) -> Fragment | None:
    """The fragment of a kind that is read from one plain value; None for the others."""
    if get_origin(kind) is Annotated:
        return fragment(get_args(kind)[1])
    if kind is str:
        return fragment(read_text)
    return _BOOLEAN if kind is bool else None


def _nullable(schema: Schema) -> Schema:
    """The same, or null: a key with nothing behind it counts as left out."""
    if "type" not in schema or "enum" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema if "null" in kinds else {**schema, "type": [*kinds, "null"]}


def _written(kind: Any, default: Any) -> object:
    """A field's default as its author would write it; None where there is nothing to write."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if default is None else _written(arguments[0], default)
    if (scalar := _scalar(kind)) is not None:
        return scalar.write(default)
    return [_written(arguments[0], each) for each in default] if origin is tuple else None
