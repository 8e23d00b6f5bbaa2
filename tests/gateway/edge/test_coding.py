"""Content codings: what goes in comes out, and no small body becomes a large one."""

from __future__ import annotations

import gzip
import os
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from gateway.edge.coding import choose, deflate, inflate

WRAPPINGS = {"gzip": 31, "zlib": 15, "raw": -15}
BIG = 64 * 1024 * 1024


async def failure(body: bytes, coding: str, limit: int = BIG) -> ErrorKind:
    """Which kind of failure inflating this is."""
    with pytest.raises(InferenceError) as caught:
        await inflate(body, coding, limit)
    return caught.value.kind


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate", ""]))
async def test_round_trip(content: bytes, coding: str) -> None:
    """Inflating what was deflated gives the same bytes."""
    assert content == await inflate(await deflate(content, coding), coding, 2000)


@pytest.mark.parametrize("wrapping", [15, -15])
@pytest.mark.parametrize("content", [b"", b"abc" * 1000, os.urandom(600_000)])
async def test_deflate_with_and_without_zlib_wrapping(wrapping: int, content: bytes) -> None:
    """`deflate` is taken in both forms that clients send, in the loop and in a thread."""
    assert content == await inflate(zlib.compress(content, 6, wrapping), " Deflate ", BIG)


async def test_large_bodies_go_through_a_thread_unchanged() -> None:
    """A body of megabytes survives both ways, in both codings."""
    content = os.urandom(700_000) * 3
    for coding in ("gzip", "deflate"):
        assert content == await inflate(await deflate(content, coding), coding, len(content))


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "deflate, gzip", "x-deflate", "chunked", "gzip;q=1"])
async def test_other_codings_are_unsupported(coding: str) -> None:
    """One coding, and one that is known."""
    assert ErrorKind.UNSUPPORTED == await failure(b"x", coding)


@pytest.mark.parametrize("name", WRAPPINGS)
async def test_broken_streams_are_invalid(name: str) -> None:
    """Cut short, followed by something or not compressed at all: INVALID."""
    coding = "gzip" if name == "gzip" else "deflate"
    whole = zlib.compress(b"hello " * 100, 6, WRAPPINGS[name])
    for body in (b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", whole + whole[:-1], b"not compressed"):
        assert ErrorKind.INVALID == await failure(body, coding)


async def test_large_output_goes_on_in_a_thread() -> None:
    """What has come out in the loop until then is not inflated again, and the whole is right."""
    content = os.urandom(100_000) * 9
    assert content == await inflate(gzip.compress(content), "gzip", BIG)
    assert [] == [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncio")]


@pytest.mark.parametrize("name", WRAPPINGS)
async def test_bombs_are_too_large(name: str) -> None:
    """Past 1 MiB no body may swell a hundredfold, whatever the limit; up to 1 MiB it may."""
    coding = "gzip" if name == "gzip" else "deflate"
    assert ErrorKind.TOO_LARGE == await failure(zlib.compress(bytes(8_000_000), 9, WRAPPINGS[name]), coding)
    small = bytes(1024 * 1024)
    assert small == await inflate(zlib.compress(small, 9, WRAPPINGS[name]), coding, BIG)


@pytest.mark.parametrize("size", [1000, 300_000, 3_000_000])
async def test_limit_is_exact(size: int) -> None:
    """As many bytes as the limit pass, one more does not."""
    content = os.urandom(size // 10) * 10
    body = zlib.compress(content, 1, 31)
    assert content == await inflate(body, "x-gzip", len(content))
    assert ErrorKind.TOO_LARGE == await failure(body, "gzip", len(content) - 1)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", ""), ("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate, br", "gzip"), ("deflate, gzip;q=0.5", "deflate"),
        ("GZIP;Q=0.8", "gzip"), ("gzip;q=0", ""), ("gzip; q=0, deflate; q=0.1", "deflate"), ("*", "gzip"), ("*;q=0", ""),
        ("gzip;q=0, *", "deflate"), ("br", ""), ("identity", ""), ("identity, gzip;q=0.5", ""), ("identity;q=0.5, gzip", "gzip"),
        ("gzip;q=x", ""), ("gzip;q=2", ""), ("gzip;q=nan", ""), ("x-gzip", "gzip"), (",,;", ""),
    ],
)  # fmt: skip
def test_choice_follows_the_weights(accept: str, coding: str) -> None:
    """The best-weighted coding we have, gzip on a tie, none if the client prefers none or asks for nothing."""
    assert coding == choose(accept)
