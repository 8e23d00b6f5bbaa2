"""Bodies are whole when they are whole, however they are cut, and broken chunks are never repaired."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.body import BodyReader, ChunkedBody, SizedBody
from gateway.edge.gate import RefusedError


def feed(body: BodyReader, stream: bytes, cuts: list[int]) -> bytes:
    """Feeds the stream cut at these places; gives what lay behind the body."""
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    for i, piece in enumerate(pieces):
        behind = body.take(piece)
        if behind is not None:
            return behind + b"".join(pieces[i + 1 :])
    raise AssertionError("the body never ended")


@given(st.binary(max_size=60), st.binary(max_size=10), st.lists(st.integers(0, 100)))
def test_sized_body_in_any_slices(content: bytes, behind: bytes, cuts: list[int]) -> None:
    """A body of known length ends at its last byte."""
    body = SizedBody(len(content))
    if content:
        assert behind == feed(body, content + behind, cuts)
        assert content == body.whole()
        assert len(content) == body.received


@pytest.mark.parametrize("sizes", [(100_000,), (20_000, 3, 4, 17_000, 5), (3, 20_000, 16_384, 16_383, 1), (50_000, 50_000)])
def test_large_pieces_and_crumbs(sizes: tuple[int, ...]) -> None:
    """Both are kept in their order."""
    pieces = [bytes([at]) * size for at, size in enumerate(sizes)]
    body = SizedBody(sum(sizes))
    taken = [body.take(piece) for piece in pieces[:-1]]
    assert [None] * len(taken) == taken
    assert b"more" == body.take(pieces[-1] + b"more")
    assert b"".join(pieces) == body.whole()


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.binary(max_size=10), st.lists(st.integers(0, 300)), st.booleans()
)
def test_chunked_body_in_any_slices(chunks: list[bytes], behind: bytes, cuts: list[int], adorned: bool) -> None:
    """Chunks, extensions and trailers give the same body however the stream is cut."""
    extension, trailers = (b' ; a="b c"', b"X-Sum: 1\r\n") if adorned else (b"", b"")
    stream = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks) + b"000\r\n" + trailers + b"\r\n"
    body = ChunkedBody(100, 1000)
    assert behind == feed(body, stream + behind, cuts)
    assert b"".join(chunks) == body.whole()


def take_all(body: BodyReader, pieces: list[bytes]) -> None:
    """Feeds until something is raised."""
    for piece in pieces:
        body.take(piece)


@pytest.mark.parametrize(
    "stream",
    [
        b"\r\n", b"x\r\n", b"0x1\r\n", b"-1\r\n", b"+1\r\n", b" 1\r\n", b"1 \r\n", b"1\n", b"1\ra", b"1_0\r\n",
        b"000000001\r\n", b"1;a\nb\r\n",
        b"1;a\x00\r\n", b"1;a\rb\r\n", b"1;" + b"a" * 300, b"1\r\nab", b"1\r\na\n", b"1\r\na\rb", b"0\r\nX\r\n\r\n",
        b"0\r\n X: 1\r\n",
        b"0\r\nX: \x00\r\n", b"0\r\nX : 1\r\n", b"0\r\n\n", b"ffffffffffffffff\r\n",
    ],
)  # fmt: skip
def test_broken_chunks_are_400(stream: bytes) -> None:
    """Size junk, bare LF, missing CR LF and malformed trailers are refused whole or byte by byte."""
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        body = ChunkedBody(100, 1000)
        with pytest.raises(RefusedError) as caught:
            take_all(body, [*pieces, b"0\r\n\r\n"])
        assert 400 == caught.value.status


def test_limits_of_a_chunked_body() -> None:
    """The limit holds for the sum of all chunks, before their bytes come; trailers have their own."""
    exact = ChunkedBody(4, 1000)
    assert b"" == exact.take(b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
    for stream, status in ((b"2\r\nab\r\n3\r\n", 413), (b"0\r\n" + b"A: b\r\n" * 2000, 431)):
        with pytest.raises(RefusedError) as caught:
            ChunkedBody(4, 1000).take(stream)
        assert status == caught.value.status


def test_chunks_are_counted() -> None:
    """As many as allowed pass, one more does not, however small they are."""
    assert b"" == ChunkedBody(100, 2).take(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    with pytest.raises(RefusedError) as caught:
        ChunkedBody(100, 2).take(b"1\r\na\r\n" * 3)
    assert (413, "chunks") == (caught.value.status, caught.value.error.reason)
