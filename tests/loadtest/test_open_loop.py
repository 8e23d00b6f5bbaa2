"""The open-loop generator against small real servers."""

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from loadtest import open_loop
from loadtest.open_loop import Run, Summary
from loadtest.pacing import schedule

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Reply = Callable[[int], Awaitable[bytes]]


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[str]:
    """Answers the n-th request with what `reply(n)` gives; with nothing, it closes the connection."""
    asked = 0

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionResetError):
                break
            asked += 1
            answer = await reply(asked)
            if not answer:
                break
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?y=1"


async def run(reply: Reply, rate: float, seconds: float, connections: int = 4, grace: float = 2.0) -> Summary:
    """An even schedule against such a server."""
    async with serving(reply) as url:
        return await Run(open_loop.target(url, b"", []), schedule(rate, seconds, 1, even=True), connections).run(grace)


async def always(_: int) -> bytes:
    """The answer that is always right."""
    return OK


async def test_every_scheduled_request_is_sent_and_counted() -> None:
    """A quick server answers them all."""
    summary = await run(always, rate=500, seconds=0.2)
    assert (summary.scheduled, summary.answered, summary.errors) == (100, 100, 0)
    assert summary.p50 <= summary.p99 <= summary.p999 <= summary.maximum


async def test_requests_due_during_a_stall_are_counted_with_their_wait() -> None:
    """One answer held back for 0.3 s on the only connection is everybody's latency, not one bad figure among 50 good ones."""

    async def stall_once(count: int) -> bytes:
        await asyncio.sleep(0.3 if count == 1 else 0)
        return OK

    summary = await run(stall_once, rate=100, seconds=0.3, connections=1)
    assert summary.answered == 30
    assert summary.p50 > 100_000


async def test_a_stall_of_the_whole_server_is_in_the_percentiles() -> None:
    """With connections to spare, too: a closed loop would have asked four times in that time, here 30 requests were due."""
    frozen = asyncio.Event()

    async def stall_in_the_middle(count: int) -> bytes:
        if count == 30:
            asyncio.get_running_loop().call_later(0.3, frozen.set)
        if count >= 30:
            await frozen.wait()
        return OK

    summary = await run(stall_in_the_middle, rate=100, seconds=0.9, connections=4)
    assert (summary.answered, summary.errors) == (90, 0)
    assert summary.p50 < 100_000 < summary.p90  # a third was due in the stall; the last of them waited hardly at all
    assert summary.late_p99 < 100_000  # waiting for a connection is the server's doing, not the generator's


async def test_a_generator_that_is_held_up_says_so() -> None:
    """Its own lateness is told apart from the server's, and makes the figures worth nothing."""

    async def hold_the_loop_once(count: int) -> bytes:
        until = time.monotonic() + (0.1 if count == 5 else 0)
        while time.monotonic() < until:
            continue
        return OK

    summary = await run(hold_the_loop_once, rate=100, seconds=0.3)
    assert summary.late_p99 > 50_000
    assert summary.late


async def test_other_statuses_are_errors() -> None:
    """A 503 is an answer, but no success."""

    async def overloaded(count: int) -> bytes:
        return OK if count % 2 else b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"

    summary = await run(overloaded, rate=100, seconds=0.2)
    assert (summary.answered, summary.errors) == (10, 10)


async def test_lost_connections_are_errors_and_are_replaced() -> None:
    """A server that hangs up on every second request loses those requests only."""

    async def hang_up(count: int) -> bytes:
        return OK if count % 2 else b""

    summary = await run(hang_up, rate=100, seconds=0.2, connections=1)
    assert (summary.answered, summary.errors) == (10, 10)


async def test_an_answer_that_never_comes_is_an_error() -> None:
    """The run ends when the grace is over."""

    async def never(_: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    summary = await run(never, rate=50, seconds=0.1, grace=0.1)
    assert (summary.answered, summary.errors) == (0, 5)


async def test_a_server_that_closes_after_each_answer_loses_nothing() -> None:
    """`Connection: close` means a new connection for the next request."""

    async def close(_: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

    summary = await run(close, rate=100, seconds=0.2)
    assert (summary.answered, summary.errors) == (20, 0)


def test_it_runs_on_uvloop() -> None:
    """The loop the command uses gives the same result."""
    summary = uvloop.run(run(always, rate=200, seconds=0.1))
    assert (summary.answered, summary.errors) == (20, 0)


def test_a_request_is_written_whole() -> None:
    """Path, query, headers and body go out as they were given."""
    target = open_loop.target("http://h:81/p?q", b"abc", [("X-A", "1")])
    assert (target.host, target.port) == ("h", 81)
    assert target.request == b"POST /p?q HTTP/1.1\r\nHost: h:81\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("url", ["https://h/", "h:80/x", "http:///x"])
def test_only_plain_http_urls_are_taken(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is said to be wrong, with exit status 2."""
    assert open_loop.main(["--url", url]) == 2
    assert "is no http:// URL" in capsys.readouterr().err


def test_nobody_listening_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused connection is said in one line."""
    assert open_loop.main(["--url", "http://127.0.0.1:1/"]) == 2
    assert "open_loop:" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--rate", "0"], ["--connections", "0"], ["--header", "nocolon"]])
def test_settings_out_of_range_are_refused(wrong: list[str]) -> None:
    """The command line says what is allowed."""
    with pytest.raises(SystemExit) as stopped:
        open_loop.main(["--url", "http://127.0.0.1:1/", *wrong])
    assert stopped.value.code == 2


async def test_the_command_prints_json_and_fails_on_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1 when a request was not answered with a 2xx."""

    async def missing(_: int) -> bytes:
        return b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"

    async with serving(missing) as url:
        status = await asyncio.to_thread(open_loop.main, ["--url", url, "--rate", "50", "--seconds", "0.1", "--even", "--json"])
    assert status == 1
    assert json.loads(capsys.readouterr().out)["errors"] == 5


async def test_the_command_refuses_to_report_when_it_was_late(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 3 and no figures on standard output: nobody takes the generator's delays for the server's."""
    async with serving(always) as url:
        arguments = ["--url", url, "--rate", "100000", "--seconds", "0.2", "--even", "--grace", "20"]
        status = await asyncio.to_thread(open_loop.main, arguments)
    assert (status, "") == (open_loop.LATE_EXIT, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("late_p50", "late_p99", "busy", "late"),
    [(100, 200, 0.5, False), (101, 200, 0.5, True), (100, 201, 0.5, True), (100, 200, 0.51, True)],
)
def test_late_is_more_than_half_of_what_was_measured(late_p50: float, late_p99: float, busy: float, late: bool) -> None:
    """At the median, at p99, or of its core."""
    summary = Summary(1, 1, 0, 1.0, 200, 300, 400, 500, 600, late_p50, late_p99, busy)
    assert summary.late is late
    assert not dataclasses.replace(summary, answered=0).late  # that is a failure of another kind
