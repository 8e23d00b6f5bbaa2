"""Tests of gateway.configuration.decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
import pytest

from gateway.configuration.decode import Findings, decode, decode_list
from gateway.configuration.problems import MAX_PROBLEMS, PolicyError
from gateway.configuration.readers import read_count, read_name
from gateway.configuration.yaml_source import parse, survey


class Leaf(msgspec.Struct, frozen=True):
    count: Annotated[int, read_count]
    on: bool = False
    note: str | None = None


class Tree(msgspec.Struct, frozen=True):
    LATER: ClassVar[frozenset[str]] = frozenset({"shadows"})
    leaf: Leaf
    named: Mapping[Annotated[str, read_name], Leaf] = msgspec.field(default_factory=dict)
    listed: tuple[str, ...] = ()


def decoded(text: str) -> tuple[Tree | None, list[tuple[str, int, str, str | None]]]:
    found = Findings(parse(text.encode(), "file.yaml"))
    tree = decode(found, Tree)
    return tree, [(problem.path, problem.line, problem.message, problem.suggestion) for problem in found.problems]


def test_good() -> None:
    """A document becomes frozen values; what is not written gets its default."""
    tree, problems = decoded("leaf: {count: 2, on: true}\nnamed: {a: {count: 1, note: x}}\nlisted: [b, c]\n")
    assert [] == problems
    assert Tree(Leaf(2, True), {"a": Leaf(1, note="x")}, ("b", "c")) == tree


@pytest.mark.parametrize(
    ("text", "path", "line", "what", "meant"),
    [
        ("leaf: {count: 1}\nlited: [a]\n", "lited", 2, "unknown key 'lited'", "listed"),
        ("leaf: {count: 1}\nzzzz: 1\n", "zzzz", 2, "unknown key 'zzzz'; valid here: leaf, named or listed", None),
        ("leaf: {count: 1}\nshadow: 1\n", "shadow", 2, "'shadow'; if 'shadows' is meant, that is not supported by", None),
        ("leaf: {count: 1}\nshadows: 1\n", "shadows", 2, "'shadows' is not supported by this version yet", None),
        ("leaf: {count: 1}\npassword: hunter2\n", "password", 2, "secrets come from files or environment variables", None),
        ("listed: [a]\n", "", 1, "'leaf' is missing", None),
        ("leaf:\n  on: true\n", "leaf", 1, "'count' is missing", None),
        ("leaf:\n  count: none\n", "leaf.count", 2, "'none' is not a whole number", None),
        ("leaf: {count: 1, on: yes}\n", "leaf.on", 1, "'yes' is neither true nor false", "true"),
        ("leaf: {count: 1, on: Flase}\n", "leaf.on", 1, "neither true nor false", "false"),
        ("leaf: {count: 1, note: 15}\n", "leaf.note", 1, "'15' is not text; put it in quotes", '"15"'),
        ("leaf: {count: 1, note: 1.10}\n", "leaf.note", 1, "a number is not text; put it in quotes as it stands", None),
        ("leaf: {count: 1, note: ''}\n", "leaf.note", 1, "has no value", None),
        ("leaf: {count: 1, note: [a]}\n", "leaf.note", 1, "must be text, not a list", None),
        ("leaf: [1]\n", "leaf", 1, "must be a mapping with count, on or note, not a list", None),
        ("leaf:\n", "leaf", 1, "not nothing", None),
        ("leaf: {count: 1}\nlisted: a\n", "listed", 2, "must be a list, not 'a'", None),
        ("leaf: {count: 1}\nlisted: []\n", "listed", 2, "the list is empty", None),
        ("leaf: {count: 1}\nlisted:\n- a\n- true\n", "listed[1]", 4, "'true' is not text", '"true"'),
        ("leaf: {count: 1}\nnamed: [a]\n", "named", 2, "must be a mapping of names, not a list", None),
        ("leaf: {count: 1}\nnamed: {}\n", "named", 2, "is empty", None),
        ("leaf: {count: 1}\nnamed: {a b: {count: 1}}\n", 'named."a b"', 2, "'a b' is not a name", "a-b"),
        ("leaf: {count: 1}\nnamed:\n  a.b: {count: 0}\n", 'named."a.b".count', 3, "'0' is not a whole number", None),
        ("[]\n", "", 1, "must be a mapping with leaf, named or listed, not a list", None),
    ],
)
def test_mistakes(text: str, path: str, line: int, what: str, meant: str | None) -> None:
    """Each kind of mistake is said once, with its path, its line and what was probably meant."""
    _, problems = decoded(text)
    assert 1 == len(problems)
    assert (path, line, meant) == (problems[0][0], problems[0][1], problems[0][3])
    assert what in problems[0][2]


def test_no_secret_is_repeated() -> None:
    """The message about a secret does not show it."""
    assert "hunter2" not in str(decoded("leaf: {count: 1}\napi_token: hunter2\n")[1])


def test_all_at_once() -> None:
    """Mistakes in different places are all found, and what could be read is still there to be checked."""
    tree, problems = decoded("leaf: {count: 1, on: 1}\nnamed: {a: {}, b: {count: 2}, c: 3}\nlisted: [1]\nmore: 1\n")
    assert {"leaf.on", "named.a", "named.c", "listed[0]", "more"} == {path for path, _, _, _ in problems}
    assert Tree(Leaf(1), {"b": Leaf(2)}) == tree


def test_what_is_spoiled_is_not_judged() -> None:
    """Where something could not be read, the parts around it are judged no further, but their neighbours are."""
    found = Findings(parse(b"a: {b: [1, 2]}\n", "file.yaml"))
    found.unread(("a", "b", 0), "unreadable")
    found.wrong(("a", "b"), "senseless")
    found.wrong(("a", "b", 1), "dangling")
    assert ["unreadable", "dangling"] == [problem.message for problem in found.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("leaf: &x {count: 1, on: &y Flase}\nlited: [a]\n", ["leaf", "leaf.on", "leaf.on", "lited"]),
        ("leaf: {count: !!int 0}\n", ["leaf.count", "leaf.count"]),
        ("leaf: {count: 1, on: 7, on: 8}\n", ["leaf.on"]),
        ("leaf: {count: *x, note: 1}\n", ["leaf.count", "leaf.note"]),
        ("leaf: {<<: *x, note: 1}\n", ["leaf", 'leaf."<<"']),
        ("leaf: *x\nlisted: [*x, 1]\n", ["leaf", "listed[0]", "listed[1]"]),
        ("leaf: {count: 1}\nnamed: {a: *x, b: {count: 0}}\n", ["named.a", "named.b.count"]),
        ("*x", [""]),
    ],
)
def test_what_yaml_alone_would_allow(text: str, expected: list[str]) -> None:
    """Anchors, tags, repeated and merge keys, aliases: each is told with all else that is wrong, and brings nothing else."""
    found = Findings(survey(text.encode(), "file.yaml"))
    decode(found, Tree)
    assert expected == [problem.path for problem in PolicyError("file.yaml", found.problems).problems]


def test_the_search_ends() -> None:
    """Of a file with more mistakes than anybody reads the first hundred are told."""
    with pytest.raises(PolicyError) as refused:
        decoded("leaf: {count: 1}\n" + "".join(f"x{each}: 1\n" for each in range(1000)))
    assert MAX_PROBLEMS == len(refused.value.problems)


@pytest.mark.parametrize(
    ("text", "read", "problem"),
    [
        ("", 0, None),
        ("[]", 0, None),
        ("- count: 1\n- count: 2\n", 2, None),
        ("- count: 1\n- count: x\n", 1, ("[1].count", 2)),
        ("- count: 1\n-\n", 1, ("[1]", 2)),
        ("count: 1\n", 0, ("", 1)),
        ("x", 0, ("", 1)),
    ],
)
def test_lists(text: str, read: int, problem: tuple[str, int] | None) -> None:
    """A document may be a list; an entry that cannot be read is left out and told by its place."""
    found = Findings(parse(text.encode(), "file.yaml"))
    assert read == len(decode_list(found, Leaf))
    assert ([problem] if problem else []) == [(each.path, each.line) for each in found.problems][:1]
