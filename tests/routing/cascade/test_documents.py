"""Numbers in JSON documents."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.cascade.documents import LONGEST, numbers

CHAT = {"choices": [{"logprobs": {"content": [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -2}]}}]}


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"score": 0.5}, ("score",), [0.5]),
        ({"a": {"b": [1, 2.5]}}, ("a", "b"), [1.0, 2.5]),
        ({"a": {"b": [1, 2.5]}}, ("a", "b", "1"), [2.5]),
        ({"a": {"x": 1, "y": 2}}, ("a", "*"), [1.0, 2.0]),
        (CHAT, ("choices", "0", "logprobs", "content", "*", "logprob"), [-0.1, -2.0]),
        (0.25, (), [0.25]),
        ({"0": 7}, ("0",), [7.0]),
    ],
)
def test_what_stands_at_a_place(document: object, path: tuple[str, ...], expected: list[float]) -> None:
    """A number, the numbers of a list, or those that `*` leads to."""
    assert expected == numbers(json.dumps(document).encode(), path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"score": NaN}',
        b'{"score": Infinity}',
        b'{"score": 1e999}',
        b'{"score": "0.9"}',
        b'{"score": true}',
        b'{"score": null}',
        b'{"score": []}',
        b'{"score": {}}',
        b'{"other": 1}',
        b"[1]",
        b'{"score": 1} x',
        b'\xff{"score": 1}',
        b"[" * 100_000,
        b'{"score": 1, "more": "' + b"a" * LONGEST + b'"}',
        b'{"score": ' + b"9" * 400 + b"}",
    ],
)
def test_what_is_no_number_is_nan(text: bytes) -> None:
    """Whatever cannot be read, is missing, of another kind, too long or too deep: one NaN, and never an error."""
    assert [True] == [math.isnan(value) for value in numbers(text, ("score",))]


def test_an_element_without_the_number_counts() -> None:
    """Where one of several lacks it, or a list among several is empty, there is a NaN in its place."""
    text = json.dumps({"rows": [{"s": [1]}, {"t": 1}, {"s": []}]}).encode()
    assert ["1.0", "nan", "nan"] == [str(value) for value in numbers(text, ("rows", "*", "s", "*"))]


@given(st.binary(max_size=60), st.lists(st.sampled_from(["a", "0", "*"]), max_size=3))
def test_anything_may_come(text: bytes, path: list[str]) -> None:
    """Numbers come out of it, one at least, whatever a model wrote."""
    assert all(isinstance(value, float) for value in numbers(text, tuple(path)))
    assert numbers(text, tuple(path))
