"""Reads the part of YAML in which a document means what it seems to mean, and remembers on which line everything stood.

Accepted: one UTF-8 document of mappings, lists and scalars. Refused: anchors, aliases, merge keys, tags, directives, repeated
keys, characters that end a line for some readers only, and anything beyond the caps. Plain scalars follow the YAML 1.2 core
schema narrowed: `true`, `false`, `null`, `~`, decimal numbers; all else is text, so that `no`, `off`, `1:30`, `0o17` and `010`
are never something else behind the author's back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import yaml
from yaml import CSafeLoader  # libyaml's; PyYAML's own reads a little differently, and takes 5 s for a megabyte

from gateway.configuration.problems import MAX_PROBLEMS, Path, PolicyError, Problem, path_text, shown

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 50_000
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")  # at most 18 digits: fits 64 bits, and int() stays cheap
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]+)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
# Line breaks of YAML 1.1 alone, a line break of YAML that editors do not show, a mark that is seen nowhere; directives.
_STRANGE = re.compile("[\x85\u2028\u2029\ufeff]|\r(?!\n)|^%", re.MULTILINE)
_TAG = re.compile(r"![^\s%!]*%")

Scalar = None | bool | int | float | str
Value = Scalar | list["Value"] | dict[str, "Value"]


class Mark(NamedTuple):
    """A place in the file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A document as plain values, and where each part of it begins. A mapping's value is marked where its key stands.

    One with `problems` is refused, whatever else is found in it; of the parts that are `unread` because of them nobody
    knows what they should say.
    """

    name: str
    value: Value
    marks: Mapping[Path, Mark]
    problems: tuple[Problem, ...] = ()
    unread: frozenset[Path] = frozenset()

    def mark(self, path: Path) -> Mark:
        """Where the part stands; for one that is missing, where the nearest part around it does."""
        while path not in self.marks and path:
            path = path[:-1]
        return self.marks.get(path, Mark(1, 1))

    def keys(self, path: Path) -> tuple[str, ...]:
        """The keys written in the mapping at `path`; none if there is no mapping."""
        value: Any = self.value
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return tuple(value) if isinstance(value, dict) else ()


def parse(text: bytes, name: str) -> Source:
    """The document in `text`; an empty one is None. Raises PolicyError, and nothing else, for whatever cannot be accepted."""
    source = survey(text, name)
    if source.problems:
        raise PolicyError(name, source.problems)
    return source


def survey(text: bytes, name: str) -> Source:
    """The same, for whoever refuses what has `problems` and wants to tell what else is wrong. Raises PolicyError, and nothing
    else, where nothing further can be read."""
    if len(text) > MAX_BYTES:
        raise PolicyError(name, [Problem("", 1, f"the file is too large; at most {MAX_BYTES} bytes are read")])
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise PolicyError(name, [Problem("", line, f"not UTF-8 at byte {error.start}; save the file as UTF-8")]) from None
    if strange := list(islice(_STRANGE.finditer(decoded), MAX_PROBLEMS)):
        raise PolicyError(name, [_refused(decoded, found.start()) for found in strange])
    builder = _Builder(yaml.parse(decoded, Loader=CSafeLoader))
    try:
        return Source(name, builder.document(), builder.marks, tuple(builder.problems), frozenset(builder.unread))
    except yaml.YAMLError as error:
        builder.problems.append(_syntax(error, decoded))
    except UnicodeDecodeError:  # libyaml undoes a tag's %XX without a look at what that gives
        tag = _TAG.search(decoded)
        builder.problems.append(Problem("", _line(decoded, tag.start()) if tag else 1, "tags (!…) are not accepted"))
    except _StopError:
        pass
    raise PolicyError(name, builder.problems)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _refused(text: str, at: int) -> Problem:
    """What `_STRANGE` found."""
    if text[at] == "%":
        return Problem(
            "", _line(text, at), "a line that begins with % is a directive of YAML, and none is accepted; indent it if it is text"
        )
    column = at - text.rfind("\n", 0, at)
    if text[at] == "\r":
        return Problem("", _line(text, at), "a line break of CR alone; save the file with LF or CR LF", column=column)
    what = f"the character U+{ord(text[at]):04X} is not accepted: it cannot be seen, and readers differ over it"
    return Problem("", _line(text, at), f"{what}; in double quotes write \\u{ord(text[at]):04x}", column=column)


def _syntax(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        # The end of a last line without a line break is for libyaml on a line after it.
        return Problem("", min(line, _line(text, len(text))), f"not valid YAML: {what}", column=column)
    # A reader error: a character that YAML does not allow. Its position counts characters or bytes, by the loader in use.
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    at = found.start() if found else 0
    return Problem("", _line(text, at), f"not valid YAML: the character U+{ord(text[at]):04X} is not allowed")


class _StopError(Exception):
    """Nothing after this point can be trusted; the problem is already noted."""


@dataclass(slots=True)
class _Builder:
    """Turns the parser's events into values. What is wrong but harmless to pass over is noted and passed over."""

    events: Iterator[Any]
    marks: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: set[Path] = field(default_factory=set)
    nodes: int = 0

    def document(self) -> Value:
        next(self.events)  # the stream's start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        value = self.node(next(self.events), ())
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            self.note((), after, "a second document begins here; only one is read")
            raise _StopError
        return value

    def note(self, path: Path, event: Any, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(path_text(path), mark.line + 1, message, column=mark.column + 1))
        if len(self.problems) == MAX_PROBLEMS:
            raise _StopError

    def node(self, event: Any, path: Path) -> Value:
        self.nodes += 1
        self.marks.setdefault(path, Mark(event.start_mark.line + 1, event.start_mark.column + 1))
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            limit = f"{MAX_DEPTH} levels" if len(path) > MAX_DEPTH else f"{MAX_NODES} values"
            self.note(path, event, f"the document has more than {limit}")
            raise _StopError
        if isinstance(event, yaml.AliasEvent):
            self.note(path, event, f"aliases (*{event.anchor:.60}) are not accepted; write the value out")
            self.unread.add(path)
            return None
        if event.anchor is not None:
            self.note(path, event, f"anchors (&{event.anchor:.60}) are not accepted; write the value out where it is needed")
        if event.tag is not None:
            self.note(path, event, f"tags ({event.tag[:60]}) are not accepted")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path)
        return resolve(event.value) if not event.style else str(event.value)

    def sequence(self, path: Path) -> list[Value]:
        values: list[Value] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            values.append(self.node(event, (*path, len(values))))
        return values

    def mapping(self, path: Path) -> dict[str, Value]:
        values: dict[str, Value] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, path)
            place = (*path, key)
            mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
            if key in values:
                self.note(place, event, f"{shown(key)} is already on line {self.marks[place].line}; a key may stand only once")
                self.unread.add(place)
            self.marks.setdefault(place, mark)
            value = self.node(next(self.events), place)
            values.setdefault(key, value)
        return values

    def key(self, event: Any, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self.note(path, event, "a key must be a plain word, not a list, mapping or alias")
            raise _StopError
        if event.anchor is not None or event.tag is not None:
            self.note(path, event, "a key may have no anchor and no tag")
        if event.value == "<<" and event.implicit[0]:
            self.note(path, event, "merge keys (<<) are not accepted; write the values out")
            self.unread.add(path)
        return str(event.value)  # as written: a model may be called 7, or no


def resolve(text: str) -> Scalar:
    """What a plain (unquoted) scalar means."""
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if text[-1].isdigit() and _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
