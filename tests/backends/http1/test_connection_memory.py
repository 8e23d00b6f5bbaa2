"""What an answer takes of memory while it comes, when it is whole, and once it is refused."""

from __future__ import annotations

import tracemalloc

import pytest

from backends.http1.messages import PoolLimits
from tests.backends.http1.test_connection import OK, Dialogue, failure


@pytest.mark.parametrize(
    ("head", "piece", "count"),
    [
        (b"Content-Length: 1000000\r\n", bytes(90_000), 11),
        (b"Content-Length: 2000000\r\n", bytes(90_000), 22),
        (b"Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n" % (90_000, bytes(90_000)), 22),
        (b"", bytes(90_000), 22),
    ],
)
def test_of_what_is_refused_nothing_is_kept(head: bytes, piece: bytes, count: int) -> None:
    """Too long or too late: what was read is let go then, but for one read, which the error's traceback may hold on to."""
    dialogue = Dialogue(PoolLimits(max_body=2_000_000))
    answer = dialogue.ask()
    tracemalloc.start()
    dialogue.hear(OK + head + b"\r\n", *[piece] * count)
    held = tracemalloc.get_traced_memory()[0]
    if head.startswith(b"Content"):
        dialogue.connection.expire()
    else:
        dialogue.hear(piece)
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert failure(answer) is not None
    assert (True, True) == (count * 90_000 <= held < count * 104_000, left < 100_000), (held, left)
    dialogue.loop.close()


@pytest.mark.parametrize("size", [2_000_000, 20])
@pytest.mark.parametrize("head", [b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\nX-Y: %d\r\n", b"X-Y: %d\r\n"])
def test_long_answers_are_whole_and_held_once(head: bytes, size: int) -> None:
    """Whichever way they are framed, every byte is there, and no large body is there a second time on the way."""
    dialogue, body = Dialogue(), bytes(range(256)) * (size // 256) + bytes(size % 256)
    stream, framed = OK + head % size + b"\r\n", b"chunked" in head
    reads = [body[start : start + 50_000] for start in range(0, size, 50_000)]
    reads = [b"%x\r\n%s\r\n" % (len(read), read) if framed else read for read in reads]
    answer = dialogue.ask()
    tracemalloc.start()
    dialogue.hear(stream, *reads, *[b"0\r\n\r\n"] * framed, eof=head.startswith(b"X"))
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.result().body == body
    assert highest < 1.2 * size + 100_000
    dialogue.loop.close()
