"""Tests of gateway.configuration.readers_confidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.configuration.problems import UnreadableError
from gateway.configuration.readers_confidence import read_metric, read_path

Read = Callable[[object], object]


@pytest.mark.parametrize(
    ("read", "written", "meant"),
    [
        (read_metric, "margin", "margin"),
        (read_metric, "mean-logprob", "mean-logprob"),
        (read_metric, "output:a b", "output:a b"),
        (read_metric, "json:score", "json:$.score"),
        (read_metric, "json:$.a[0].b[*]", "json:$.a[0].b[*]"),
        (read_path, "choices[0].logprobs.content[*].logprob", "$.choices[0].logprobs.content[*].logprob"),
        (read_path, "[3]", "$[3]"),
        (read_path, "$", "$"),
    ],
)
def test_read(read: Read, written: str, meant: str) -> None:
    """A metric is one word, or a word and what it is read from; a place may be written with or without its dollar."""
    assert meant == read(written)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (read_metric, "softmax"),
        (read_metric, "output:"),
        (read_metric, "json:"),
        (read_metric, "json:a..b"),
        (read_metric, 1),
        (read_path, ""),
        (read_path, "a b"),
        (read_path, "a[-1]"),
        (read_path, 7),
    ],
)
def test_refused(read: Read, value: object) -> None:
    """Nothing else is a metric, or a place in a document."""
    with pytest.raises(UnreadableError):
        read(value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("margn", "margin"),
        ("Max_Softmax", "max-softmax"),
        ("mean-logprobs", "mean-logprob"),
        ("ouput:score", "output:score"),
        ("outputs:score", "output:score"),
        ("output: score", "output:score"),
        ("Output:score ", "output:score"),
        ("jsn:score", "json:score"),
        ("output", "output:<name>"),
        ("output:", "output:<name>"),
        ("zzz", None),
    ],
)
def test_what_was_meant(written: str, meant: str | None) -> None:
    """A misspelt metric brings the right one, the name behind the colon kept."""
    with pytest.raises(UnreadableError) as refused:
        read_metric(written)
    assert meant == refused.value.suggestion
