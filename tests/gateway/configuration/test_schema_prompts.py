"""Tests of gateway.configuration.schema_prompts: scores, hashes and files as policies write them."""

from __future__ import annotations

import pytest

from gateway.configuration.problems import UnreadableError
from gateway.configuration.schema_prompts import read_beside, read_score, read_sha256


@pytest.mark.parametrize(("value", "score"), [(0, 0.0), (1, 1.0), (0.62, 0.62), (0.123456, 0.123456), (1e-06, 1e-06)])
def test_scores(value: object, score: float) -> None:
    """From 0 to 1, of at most six digits."""
    assert score == read_score(value)


@pytest.mark.parametrize(
    ("value", "meant"),
    [(-0.1, None), (1.5, None), (62, None), (True, None), ("0.62", None), (None, None), (0.1234567, "0.123457"), (1e-7, "0.0")],
)
def test_no_scores(value: object, meant: str | None) -> None:
    """What falls between two millionths could not be compared exactly."""
    with pytest.raises(UnreadableError) as caught:
        read_score(value)
    assert meant == caught.value.suggestion


@pytest.mark.parametrize(
    ("value", "meant"), [("AB" * 32, "ab" * 32), ("sha256:" + "0" * 64, "0" * 64), ("abc", None), (12, '"12"')]
)
def test_hashes(value: object, meant: str | None) -> None:
    """64 hexadecimal digits, as the command prints them."""
    assert "ab" * 32 == read_sha256("ab" * 32)
    with pytest.raises(UnreadableError) as caught:
        read_sha256(value)
    assert meant == caught.value.suggestion


@pytest.mark.parametrize("value", ["difficulty.json", "routers/a b.json", "..data/r.json", ".hidden"])
def test_files_beside_the_policy(value: str) -> None:
    """In its folder or below it."""
    assert value == read_beside(value)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *[("/etc/router.json", "router.json"), ("../r.json", "r.json"), ("a/../r.json", "r.json"), ("./r.json", "r.json")],
        *[("a//b", "b"), ("..", None), (".", None), ("a/", None), ("a\\b", None), ("a\nb", None)],
    ],
)
def test_files_elsewhere(value: str, meant: str | None) -> None:
    """A policy's author need not be the machine's owner."""
    with pytest.raises(UnreadableError) as caught:
        read_beside(value)
    assert meant == caught.value.suggestion
