"""Text that can be read in one way only."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.strict import decode_base64url, decode_object


@given(st.binary(max_size=40))
def test_strict_base64_reads_what_an_encoder_writes(raw: bytes) -> None:
    """Encoding and decoding are inverse."""
    assert raw == decode_base64url(base64.urlsafe_b64encode(raw).rstrip(b"="))


@pytest.mark.parametrize("text", [b"YQ==", b"YR", b"Y Q", b"YWI\n", b"a+b_", b"a/b_", b"Y", b"YQ.", b"\xffYQ", b"=", b"YQ=YQ"])
def test_sloppy_base64_is_refused(text: bytes) -> None:
    """Padding, stray bits, white space, the other alphabet and impossible lengths are not strict base64url."""
    with pytest.raises(ValueError):
        decode_base64url(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("aé", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.dictionaries(st.text(max_size=3), _json, max_size=3))
def test_an_object_is_read_as_it_was_written(found: dict[str, Any]) -> None:
    """Whatever an object holds comes back, names of different objects being no duplicates."""
    assert found == decode_object(json.dumps(found).encode())


@pytest.mark.parametrize(
    "text",
    [
        b'{"sub": "alice", "sub": "eve"}',
        b'{"sub": "alice", "s\\u0075b": "eve"}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": [{"b": 1, "b": 2}]}',
        b'{"exp": NaN}',
        b'{"exp": Infinity}',
        b'{"exp": -Infinity}',
        b'{"exp": 01}',
        b'{"a": "\n"}',
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": 1} {}',
        b"[]",
        b"null",
        b"7",
        b"",
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        json.dumps({"sub": "alice"}).encode("utf-16"),
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":' * 3000,
        b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}",
    ],
)
def test_what_two_parsers_may_read_differently_is_refused(text: bytes) -> None:
    """A name twice at any depth, numbers that are none, other encodings, depth beyond reason and what is no object."""
    with pytest.raises(ValueError):
        decode_object(text)
