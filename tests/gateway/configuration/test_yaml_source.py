"""Tests of gateway.configuration.yaml_source; what each scalar and each small file means is in test_yaml_corpus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.problems import MAX_PROBLEMS, PolicyError, Problem
from gateway.configuration.yaml_source import MAX_BYTES, MAX_DEPTH, MAX_NODES, Mark, parse, survey


def problems(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(PolicyError) as refused:
        parse(text.encode() if isinstance(text, str) else text, "file.yaml")
    return refused.value.problems


def refused_or_read(text: bytes) -> bool:
    """True for a document, and for a refusal that says why."""
    try:
        parse(text, "file.yaml")
    except PolicyError as error:
        return bool(error.problems)
    return True


def test_keys_are_text() -> None:
    """A key is what is written, whatever it looks like."""
    assert {"7": 1, "no": 2, "true": 3, "null": 4} == parse(b"7: 1\nno: 2\ntrue: 3\nnull: 4\n", "file.yaml").value


def test_marks() -> None:
    """Every part is remembered by line and column: a mapping's value where its key stands, a list's entry where it begins."""
    source = parse(b"models:\n  digits:\n    routes:\n      - name: a\n      - {name: b}\n", "file.yaml")
    assert Mark(1, 1) == source.mark(("models",))
    assert Mark(2, 3) == source.mark(("models", "digits"))
    assert Mark(4, 9) == source.mark(("models", "digits", "routes", 0))
    assert Mark(5, 10) == source.mark(("models", "digits", "routes", 1, "name"))


def test_mark_of_what_is_missing() -> None:
    """What is not written is looked for where the part around it stands."""
    assert Mark(2, 3) == parse(b"a:\n  b: 1\n", "file.yaml").mark(("a", "b", "c", 0))
    assert Mark(1, 1) == parse(b"", "file.yaml").mark(("a",))


def test_keys() -> None:
    """The names written in a mapping can be asked for; there are none where there is no mapping."""
    source = parse(b"a: {b: 1, c: 2}\n", "file.yaml")
    assert ("b", "c") == source.keys(("a",))
    assert () == source.keys(("a", "b"))
    assert () == source.keys(("x", "y"))


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "null\n"])
def test_empty(text: str) -> None:
    """An empty document is None."""
    assert parse(text.encode(), "file.yaml").value is None


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: &x 2\n", 2, "anchors (&x)"),
        ("a: &x {c: 1}\nb:\n  - *x\n", 3, "aliases (*x)"),
        ("a: 1\nb: !!str 2\n", 2, "tags (tag:yaml.org,2002:str)"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "tags ("),
        ("a: 1\nb: !own [2]\n", 2, "tags (!own)"),
        ("a: 1\nb:\n  <<: {c: 1}\n", 3, "merge keys"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is already on line 1"),
        ("a: 1\n? [b]\n: 2\n", 2, "a key must be a plain word"),
        ("a: 1\n&x b: 2\n", 2, "a key may have no anchor"),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("a: 1\nb: [1, 2\n", 3, "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        ("a: 1\nb: \x07\n", 2, "the character U+0007 is not allowed"),
        ("a: 1\nb: >=16\n", 2, "not valid YAML"),
        ("a: 1\nb: [", 2, "not valid YAML"),
        ("a: 1\nb: 2\u2028", 2, "the character U+2028 is not accepted"),
        ("a: 1\rb: 2", 1, "a line break of CR alone"),
        ("# c\n%YAML 1.2\n---\na: 1", 2, "a directive of YAML"),
        ("a: 1\nb: !%ED%A0%80 c", 2, "tags (!…)"),
    ],
)
def test_refused(text: str, line: int, what: str) -> None:
    """What YAML allows and a reader would not expect is refused on its line."""
    assert (line, True) in [(problem.line, what in problem.message) for problem in problems(text)]


def test_all_at_once() -> None:
    """Every repeated key, anchor and tag is named, not only the first."""
    assert [2, 3, 4] == [problem.line for problem in problems("a: 1\na: 2\nb: &x 1\nc: !t 1\n")]


def test_what_is_refused_can_be_looked_at() -> None:
    """Whoever refuses it all the same is told what else there is, and of which parts nobody knows what they should say."""
    text = "a: !!str 1\nb: &x 2\nc: [*x]\nd: {e: 1, e: 2}\nf: {<<: *x, g: 1}\n"
    source = survey(text.encode(), "file.yaml")
    assert problems(text) == source.problems
    assert [1, 2, 3, 4, 5, 5] == [problem.line for problem in source.problems]
    assert {("c", 0), ("d", "e"), ("f",), ("f", "<<")} == source.unread
    value = source.value
    assert isinstance(value, dict)
    assert (1, 2, {"e": 1}) == (value["a"], value["b"], value["d"])


@pytest.mark.parametrize("text", ["a: &x 1\nb: [", "a: &x 1\n---\nb: 1", "a: &x 1\n? [b]\n: 2\n", "[" * 100, "- &x 1\n" * 500])
def test_what_cannot_be_read_any_further(text: str) -> None:
    """Where the rest would be a guess it is not looked at."""
    with pytest.raises(PolicyError) as refused:
        survey(text.encode(), "file.yaml")
    assert problems(text) == refused.value.problems


@pytest.mark.parametrize("text", ["\xff\xfe".encode("latin-1"), b"ok: 1\nbad: \xc3("])
def test_not_utf8(text: bytes) -> None:
    """Bytes that are not UTF-8 are refused on their line."""
    assert [text.count(b"\n") + 1] == [problem.line for problem in problems(text)]


def test_byte_order_mark() -> None:
    """A UTF-8 byte order mark, as some editors write it, is no mistake."""
    assert {"a": 1} == parse(b"\xef\xbb\xbfa: 1\n", "file.yaml").value


def test_the_search_ends() -> None:
    """Of a file with more mistakes than anybody reads the first hundred are told, in short."""
    assert MAX_PROBLEMS == len(problems("a: 1\n" * 1000))
    assert MAX_PROBLEMS == len(problems("a: 1\u2028\n" * 1000))
    assert len(problems("&" + "x" * 100_000 + " a")[0].message) < 200


def test_caps() -> None:
    """Bytes, depth and the number of values have an end."""
    assert "at most 1048576" in problems(b"#" * (MAX_BYTES + 1))[0].message
    assert f"{MAX_DEPTH} levels" in problems("[" * 100_000)[0].message
    assert f"{MAX_NODES} values" in problems("[" + "1," * MAX_NODES + "1]")[0].message
    assert isinstance(parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "file.yaml").value, list)


@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"%@`#?,.0123 \n\t~<=\x00\ufeff\ud7ff\x85"))
def test_any_text(text: str) -> None:
    """Whatever is written is either read or refused."""
    assert refused_or_read(text.encode("utf-8", "surrogatepass"))


@given(st.binary())
def test_any_bytes(text: bytes) -> None:
    """Bytes of any kind are either read or refused."""
    assert refused_or_read(text)
