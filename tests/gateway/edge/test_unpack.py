"""Content codings undone step by step: what goes in, what comes out, and that no step is large."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import Any

import pytest

from gateway.edge.unpack import BROKEN, CODINGS

SMALL, RANDOM, ZEROS = b"hello " * 100, os.urandom(200_000), bytes(20_000_000)


def packed(coding: str, content: bytes) -> bytes:
    """The content in this coding, by the library that defines it."""
    pack: dict[str, tuple[str, str]] = {"br": ("brotli", "compress"), "zstd": ("zstandard", "compress")}
    if coding not in pack:
        return gzip.compress(content) if coding == "gzip" else zlib.compress(content)
    module, name = pack[coding]
    found: Any = getattr(pytest.importorskip(module), name)(content)
    return bytes(found)


def unpacked(coding: str, body: bytes) -> bytes:
    """What comes out in all."""
    return b"".join(piece for _, piece in CODINGS[coding](body))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("content", [b"", SMALL, RANDOM, ZEROS], ids=["empty", "small", "random", "zeros"])
def test_round_trip(coding: str, content: bytes) -> None:
    """Every coding there is gives the content back."""
    assert content == unpacked(coding, packed(coding, content))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("content", [SMALL, RANDOM], ids=["small", "random"])
def test_what_is_not_whole_is_broken(coding: str, content: bytes) -> None:
    """Cut anywhere, followed by something, empty or another thing altogether."""
    whole = packed(coding, content)
    for body in (b"", whole[:1], whole[: len(whole) // 2], whole[:-1], whole + b"x", b"\xff" * 500):
        with pytest.raises(BROKEN):
            unpacked(coding, body)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_comes_in_small_steps(coding: str) -> None:
    """No step gives more than a few megabytes, so that its collector can stop, and the used part of the body is told."""
    used = 0
    for at, piece in CODINGS[coding](packed(coding, ZEROS)):
        assert used <= at
        assert len(piece) <= 8 << 20
        used = at


def test_gzip_takes_one_member_after_another() -> None:
    """As RFC 1952 has it, up to a bound: each costs more than it holds."""
    member = gzip.compress(b"ab")
    assert b"ab" * 2048 == unpacked("gzip", member * 2048)
    with pytest.raises(BROKEN):
        unpacked("gzip", member * 2049)
    with pytest.raises(BROKEN):
        unpacked("deflate", zlib.compress(b"ab") * 2)
