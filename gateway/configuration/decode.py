"""Turns a parsed document into the schema's frozen values and notes every mistake on the way instead of stopping at the first.

A schema is a msgspec Struct whose fields are Structs, `Mapping[key, T]`, `tuple[T, ...]`, `T | None`, `str`, `bool`, or
`Annotated[T, reader]`, where the reader makes a T of one plain value or raises Unreadable. A Struct may name keys of later
versions in a class variable `LATER`, so that they are told from misspelt ones, and in `NEVER` keys that somebody will try, with
why there is no such key, in `WORDS` boolean fields whose name may stand for the whole Struct, and in `ALONE` the field whose
value may.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from gateway.configuration.problems import (
    MAX_PROBLEMS,
    NOT_YET,
    Path,
    PolicyError,
    Problem,
    UnreadableError,
    listed,
    nearest,
    path_text,
    shown,
)
from gateway.configuration.yaml_source import Source

S = TypeVar("S", bound=msgspec.Struct)
_SECRET = re.compile(r"secret|passw|token|private|credential", re.IGNORECASE)
_FAILED = object()


@dataclass(slots=True)
class Findings:
    """The problems of one document so far, its YAML's first; when there are MAX_PROBLEMS of them, PolicyError ends the search.

    A part in which something could not be read is `spoiled`, with everything around it: it is not judged any further, so
    that one slip is one problem.
    """

    source: Source
    problems: list[Problem] = field(init=False)
    spoiled: set[Path] = field(init=False)

    def __post_init__(self) -> None:
        self.problems = list(self.source.problems)
        self.spoiled = {path[:end] for path in self.source.unread for end in range(len(path) + 1)}

    def unread(self, path: Path, message: str, suggestion: str | None = None) -> None:
        """Something at `path` could not be read."""
        self._note(path, message, suggestion)
        self.spoiled.update(path[:end] for end in range(len(path) + 1))

    def wrong(self, path: Path, message: str, suggestion: str | None = None) -> None:
        """What stands at `path` was read but makes no sense; unsaid where part of it could not be read."""
        if path not in self.spoiled:
            self._note(path, message, suggestion)

    def _note(self, path: Path, message: str, suggestion: str | None) -> None:
        mark = self.source.mark(path)
        self.problems.append(Problem(path_text(path), mark.line, message, suggestion, mark.column))
        if len(self.problems) == MAX_PROBLEMS:
            raise PolicyError(self.source.name, self.problems)


def decode(found: Findings, schema: type[S]) -> S | None:
    """The whole document as a `schema`; None when too little of it could be read. What is wrong is in `found`.

    A field that cannot be read gets its default, a mapping's entry that cannot be read is left out, so that the rest can
    still be checked. Raises PolicyError when there is more wrong than anybody reads.
    """
    value = _read(found, found.source.value, schema, ())
    return value if isinstance(value, schema) else None


def decode_list(found: Findings, schema: type[S]) -> tuple[S, ...]:
    """The whole document as a list, without the entries that could not be read; an empty document is an empty list."""
    value = found.source.value
    if not isinstance(value, list | None):
        found.unread((), f"must be a list, not {_named(value)}")
        return ()
    entries = [_read(found, entry, schema, (index,)) for index, entry in enumerate(value or ())]
    return tuple(entry for entry in entries if isinstance(entry, schema))


def _read(found: Findings, value: Any, kind: Any, path: Path) -> Any:
    if path in found.source.unread:
        return _FAILED  # that has been said
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(found, value, arguments[0], path)
    if origin is Annotated:
        return _scalar(found, value, arguments[1], path)
    if kind is str or kind is bool:
        return _scalar(found, value, read_text if kind is str else _read_bool, path)
    if origin is tuple:
        return _tuple(found, value, arguments[0], path)
    if origin is Mapping:
        return _mapping(found, value, arguments, path)
    return _struct(found, value, kind, path)


def _scalar(found: Findings, value: Any, reader: Any, path: Path) -> Any:
    try:
        return reader(value)
    except UnreadableError as error:
        found.unread(path, error.message, error.suggestion)
        return _FAILED


def read_text(value: object) -> str:
    """Text of at least one character. Raises UnreadableError."""
    if isinstance(value, str) and value:
        return value
    if value is None or value == "":
        raise UnreadableError("has no value; text is needed here")
    if isinstance(value, float):  # 1.10 has become 1.1: what was written is not known any more
        raise UnreadableError("a number is not text; put it in quotes as it stands")
    if isinstance(value, (bool, int)):
        raise UnreadableError(f"{shown(value)} is not text; put it in quotes", f'"{_plain(value)}"')
    raise UnreadableError(f"must be text, not {_named(value)}")


def _read_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(str(value).lower())
    raise UnreadableError(f"{shown(value)} is neither true nor false", meant or nearest(str(value), ("true", "false")))


def _tuple(found: Findings, value: Any, kind: Any, path: Path) -> Any:
    if not isinstance(value, list):
        found.unread(path, f"must be a list, not {_named(value)}")
        return _FAILED
    if not value:
        found.unread(path, "the list is empty; it needs at least one entry")
        return _FAILED
    entries = [_read(found, entry, kind, (*path, index)) for index, entry in enumerate(value)]
    return _FAILED if _FAILED in entries else tuple(entries)


def _mapping(found: Findings, value: Any, kinds: tuple[Any, ...], path: Path) -> Any:
    if not isinstance(value, dict):
        found.unread(path, f"must be a mapping of names, not {_named(value)}")
        return _FAILED
    if not value:
        found.unread(path, "is empty; it needs at least one entry")
        return _FAILED
    entries: dict[str, Any] = {}
    for key, entry in value.items():
        place = (*path, key)
        name, read = _read(found, key, kinds[0], place), _read(found, entry, kinds[1], place)
        if name in entries:
            found.unread(place, f"{shown(key)} is the same name as an earlier one; case makes no difference here")
        elif name is not _FAILED and read is not _FAILED:
            entries[name] = read
    return entries


def _struct(found: Findings, value: Any, schema: type[msgspec.Struct], path: Path) -> Any:
    fields, words = _fields(schema), tuple[str, ...](getattr(schema, "WORDS", ()))
    if value in words and isinstance(value, str):
        return schema(**{value: True})
    alone: str = getattr(schema, "ALONE", "")
    if alone and not isinstance(value, dict):
        result = _read(found, value, fields[alone].type, path)
        return _FAILED if result is _FAILED else schema(**{alone: result})
    if not isinstance(value, dict):
        alone = f"one of {listed(words)}, or " if words else ""
        meant = nearest(value, words) if isinstance(value, str) else None
        found.unread(path, f"must be {alone}a mapping with {listed(fields)}, not {_named(value)}", meant)
        return _FAILED
    for key in value:
        if key not in fields:
            _unknown(found, key, schema, path)
    read: dict[str, Any] = {}
    for name, each in fields.items():
        result = _read(found, value[name], each.type, (*path, name)) if name in value else _FAILED
        if result is not _FAILED:
            read[each.name] = result
        elif each.required and name not in value:
            found.unread(path, f"'{name}' is missing")
    return schema(**read) if all(each.name in read for each in fields.values() if each.required) else _FAILED


@cache  # msgspec evaluates every annotation anew, 100 µs for each value that a document has
def _fields(schema: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    return {each.encode_name: each for each in msgspec.structs.fields(schema)}


def _unknown(found: Findings, key: str, schema: type[msgspec.Struct], path: Path) -> None:
    names, later = tuple(_fields(schema)), frozenset[str](getattr(schema, "LATER", ()))
    never: Mapping[str, str] = getattr(schema, "NEVER", {})
    if key in later:
        found.unread((*path, key), f"{shown(key)} is {NOT_YET}")
        return
    if key in never:
        found.unread((*path, key), f"{shown(key)} has no place here: {never[key]}")
        return
    meant = nearest(key, (*names, *later))
    if meant in later:
        found.unread((*path, key), f"unknown key {shown(key)}; if {shown(meant)} is meant, that is {NOT_YET}")
        return
    if _SECRET.search(key) and meant is None:
        message = "secrets come from files or environment variables, never from this file"
    else:
        message = f"unknown key {shown(key)}" + ("" if meant else f"; valid here: {listed(names)}")
    found.unread((*path, key), message, meant)


def _plain(value: bool | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _named(value: object) -> str:
    """What a value is, in the words of YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else shown(value)
