"""Tests of gateway.configuration.fragments: each says the same as the reader it stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin

import jsonschema
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.configuration import quantities, readers, schema_policy
from gateway.configuration.fragments import FRAGMENTS, duration, fragment, share, version_policy
from gateway.configuration.problems import UnreadableError
from gateway.configuration.readers import one_of
from gateway.configuration.schema_costs import read_sum
from gateway.configuration.schema_gateway import read_answer_size, read_jwks, read_otlp, read_sample_size, read_store
from gateway.configuration.schema_prompts import read_score
from routing.conditions import size
from routing.match import Versions
from tests.gateway.configuration.test_descriptions import STRUCTS

TEXTS = (
    "", " ", "a", "a b", "1", "0", "0..", "..", "..0", "1..8", "8..1", "..9", "..10", "000000009..", "5%", "100%", "100.1%",
    "101%", "0s", "0.000s", "1s", "1 s", "1  s", "1sec", "1S", "1.s", ".5s", "-1s", "9999d", "1B", "1.5B", "0B", "1KiB",
    "1kb", "1KiB..", "1KiB..1B", "..2GiB", "1..2GiB", "9999999999GiB", "all", "latest(0)", "latest(2)", "latest(2",
    "specific()", "specific(1, 3)", "tenant", "header:", "header:x-a", "header:Cookie", "header:X-Penstock-A", "x-api-key",
    "x-api-keys", "margin", "output:", "json:a", "output:a b", "output: a", "h:1", "h:0", "h:65535", "h:65536", "h:00080",
    "[::1]:1", "[g]:1", "1.2.3:1", "1.2.3.4:1", "1.2.3.256:1", "a_b-c.d:9", "-a:1", "a-:1", "http://h:1", "https://h/x",
    "http://127.0.0.1/x", "a/b.json", "100/s", "0/s", "0.0 / d", "0.5/h", "1 /m", "1/y", "1B/s", "1MiB/ d", "0.0KiB/s", "/s",
    "yes", "true", "null", "triton-http",
)  # fmt: skip
PLAIN: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.sampled_from(TEXTS)
    | st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=12)
    | st.lists(st.sampled_from(TEXTS), max_size=2)
    | st.dictionaries(st.sampled_from(TEXTS), st.integers(), max_size=1)
)
AGREEING = [each for each in FRAGMENTS if each is not read_otlp]
HOSTS = re.compile(r"\[.*\]|.{254,}:")


def _backwards(value: Any) -> bool:
    low, _, high = str(value).partition("..")
    read: Callable[[object], float] = quantities.read_size if "B" in str(value) else int  # type: ignore[assignment]
    return bool(low and high) and read(low) > read(high)


def _odd_size(value: Any) -> bool:
    """Of a part of a byte, or larger than anything: only counting tells."""
    try:
        return any(quantities.read_size(part) < 0 for part in str(value).split("..") if part)
    except UnreadableError:
        return True


# Where the schema is milder than the reader, because a pattern cannot count. It is never stricter.
MILDER: dict[object, Callable[[Any], bool]] = {
    quantities.read_rate: lambda value: _refusal(quantities.read_rate, value).endswith(("at once", "one a year")),
    read_sum: lambda value: "more than" in _refusal(read_sum, value),
    quantities.read_byte_rate: lambda value: (
        _odd_size(value.partition("/")[0].strip()) or "one a year" in _refusal(quantities.read_byte_rate, value)
    ),
    quantities.read_duration: lambda value: "longer than a year" in _refusal(quantities.read_duration, value),
    readers.read_timeout: lambda value: "longer than a year" in _refusal(readers.read_timeout, value),
    readers.read_limit: _odd_size,
    read_answer_size: lambda value: "more than Redis" in _refusal(read_answer_size, value) or _odd_size(value),
    read_sample_size: lambda value: "too small" in _refusal(read_sample_size, value) or _odd_size(value),
    readers.read_listener: lambda value: HOSTS.match(value) is not None,
    readers.read_address: lambda value: HOSTS.match(value) is not None,
    schema_policy.read_rows: _backwards,
    schema_policy.read_counts: _backwards,
    schema_policy.read_priorities: _backwards,
    schema_policy.read_sizes: lambda value: _odd_size(value) or _backwards(value),
    read_score: lambda value: "six digits" in _refusal(read_score, value),
    read_jwks: lambda value: "://" in value,  # a URL's insides
    read_store: lambda value: "[" in value,  # an IPv6 address
}


def _refusal(reader: Callable[[object], object], value: object) -> str:
    try:
        reader(value)
    except UnreadableError as error:
        return error.message
    return ""


@cache
def _validator(reader: Any) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(fragment(reader).schema)


def agree(reader: Any, value: object) -> None:
    """The reader and its fragment accept the value, both or neither."""
    accepted = _validator(reader).is_valid(value)
    refusal = _refusal(reader, value)
    if accepted and refusal:
        assert reader in MILDER, (reader, value, refusal)
        assert MILDER[reader](value), (reader, value, refusal)
    else:
        assert accepted == (not refusal), (reader, value, refusal)


@pytest.mark.parametrize("reader", AGREEING)
def test_agrees_with_its_reader(reader: Any) -> None:
    """On texts at the edges of every grammar."""
    for text in TEXTS:
        agree(reader, text)


@settings(max_examples=300)
@given(PLAIN)
@example(10**9)
def test_all_agree_with_their_readers(value: object) -> None:
    """On values of other kinds, on anything. Each value is shown to all: making one takes longer than reading it."""
    for reader in AGREEING:
        agree(reader, value)


@pytest.mark.parametrize("reader", [each for each, found in FRAGMENTS.items() if "pattern" in found.schema])
def test_whatever_fits_the_pattern_is_read(reader: Any) -> None:
    """Made from the pattern itself, so that no corner of it lets through what the loader refuses."""
    pattern = FRAGMENTS[reader].schema["pattern"]
    ahead = re.compile(r"\(\?=[^)]*\)")  # of which hypothesis would make a text, to find that nothing fits behind it
    made = st.from_regex(ahead.sub("", pattern).removesuffix("$") + r"\Z", alphabet=st.characters(max_codepoint=126))

    @settings(max_examples=50)
    @given(made.filter(re.compile(pattern).search))
    def try_one(text: str) -> None:
        agree(reader, text)

    try_one()


@pytest.mark.parametrize("reader", FRAGMENTS)
def test_examples_are_read(reader: Any) -> None:
    """What an editor offers is never refused."""
    for shown in FRAGMENTS[reader].schema.get("examples", ()):
        reader(shown)


def test_one_of_several_words() -> None:
    """A choice is an enumeration, without the words of later versions."""
    assert {"type": "string", "enum": ["a", "b"]} == fragment(one_of(("a", "b"), ("c",))).schema


def test_a_reader_without_a_fragment() -> None:
    """Is a defect, not a value that may be anything."""
    with pytest.raises(KeyError):
        fragment(lambda value: value)


def _readers(kind: Any) -> Iterator[object]:
    if get_origin(kind) is Annotated:
        yield get_args(kind)[1]
    else:
        for inner in get_args(kind):
            yield from _readers(inner)


def test_every_reader_in_use_has_one() -> None:
    """So that a new field cannot be forgotten."""
    used = {each for struct in STRUCTS for field in msgspec.structs.fields(struct) for each in _readers(field.type)}
    assert len(used) > 20
    for reader in used:
        fragment(reader)


@given(st.integers(1, 10**9))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    """In whatever unit, the same number of seconds."""
    assert milliseconds / 1000 == quantities.read_duration(duration(milliseconds / 1000))


@given(st.integers(1, 1 << 40))
def test_sizes_are_written_as_they_are_read(count: int) -> None:
    """To the byte."""
    assert count == quantities.read_size(size(count))


@pytest.mark.parametrize(
    ("written", "expected"),
    [(duration(30.0), "30s"), (duration(0.5), "500ms"), (size(64 << 20), "64MiB"), (size(1000), "1000B"), (share(0.05), "5%")],
)
def test_defaults_are_written_as_people_write_them(written: str, expected: str) -> None:
    """In the largest unit that needs no fraction."""
    assert expected == written


@pytest.mark.parametrize("versions", [Versions(), Versions(latest=2), Versions(named=frozenset({"1", "3"}))])
def test_version_policies_are_written_as_they_are_read(versions: Versions) -> None:
    """Each of the three forms."""
    assert versions == schema_policy.read_version_policy(version_policy(versions))
