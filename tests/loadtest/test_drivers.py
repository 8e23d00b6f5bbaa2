"""Reading what load programs print, and checking single answers."""

import asyncio

import pytest

from loadtest import drivers, traffic
from loadtest.drivers import Load, WrongAnswerError
from loadtest.processes import StartError

H2LOAD = """
finished in 1.00s, 3365.00 req/s, 904.32KB/s
requests: 3365 total, 3373 started, 3365 done, 3365 succeeded, {failed} failed, 0 errored, 0 timeout
status codes: 3365 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 904.47KB (926178) total, 36.15KB (37015) headers (space savings 92.52%), 844.55KB ({data}) data
"""


def test_wrk_results_are_the_line_the_script_prints() -> None:
    """wrk's own text around it is ignored."""
    output = 'Running 1s test\nRESULT {"requests": 100, "microseconds": 1500000, "errors": 2}\n'
    assert Load(100, 2, 1.5) == drivers.parse_wrk(output)


def test_wrk_without_a_result_is_an_error() -> None:
    """A wrk that broke is reported with what it said."""
    with pytest.raises(StartError, match="unable to connect"):
        drivers.parse_wrk("unable to connect to 127.0.0.1:1")


def test_h2load_counts_succeeded_requests() -> None:
    """Every answer had its message: no error."""
    assert Load(3365, 0, 1.0) == drivers.parse_h2load(H2LOAD.format(failed=0, data=3365 * 257), 257, 1.0)


def test_h2load_answers_without_a_message_are_errors() -> None:
    """A gRPC error is a 200 without a message, so the missing bytes show it."""
    assert Load(3365, 5, 1.0) == drivers.parse_h2load(H2LOAD.format(failed=0, data=3360 * 257), 257, 1.0)


def test_h2load_failures_are_errors() -> None:
    """Failed requests are counted too."""
    assert drivers.parse_h2load(H2LOAD.format(failed=7, data=3365 * 257), 257, 1.0).errors == 7


def test_h2load_without_a_summary_is_an_error() -> None:
    """An h2load that broke is reported."""
    with pytest.raises(StartError, match="no result"):
        drivers.parse_h2load("Could not connect", 257, 1.0)


async def ask(serve: bytes, question: traffic.Question) -> None:
    """Check the answer of a server that always says the same."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(question.message.body))
        writer.write(serve)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await asyncio.to_thread(drivers.check_http, port, question, [("X-API-Key", "k")])


def response(message: traffic.Message, status: str = "200 OK") -> bytes:
    """A message on the wire."""
    lines = [
        f"HTTP/1.1 {status}",
        *(f"{name}: {value}" for name, value in message.headers),
        f"Content-Length: {len(message.body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + message.body


async def test_a_right_answer_passes() -> None:
    """The labels of every row, in order."""
    await ask(response(traffic.answers()["digits_1k"]), traffic.question("1k"))


@pytest.mark.parametrize(
    ("serve", "says"),
    [
        (response(traffic.answers()["digits_accurate"]), r"labels \(5, 7, 0\) instead of \(0, 1, 2, 3\)"),
        (response(traffic.Message((), b'{"error": "key"}'), "401 Unauthorized"), "status 401.*key"),
        (response(traffic.Message((), b"not json")), "JSONDecodeError"),
        (response(traffic.Message((), b"{}")), "KeyError"),
        (b"nonsense\r\n\r\n", "BadStatusLine"),
    ],
)
async def test_anything_else_is_a_wrong_answer(serve: bytes, says: str) -> None:
    """Another status, other rows or no inference answer at all is refused before anything is measured."""
    with pytest.raises(WrongAnswerError, match=says):
        await ask(serve, traffic.question("1k"))


def test_nobody_listening_is_a_wrong_answer() -> None:
    """A refused connection is reported, not raised as it is."""
    with pytest.raises(WrongAnswerError, match="ConnectionRefusedError"):
        drivers.check_http(1, traffic.question("1k"), [])


def test_nobody_listening_over_grpc_is_a_wrong_answer() -> None:
    """The same over gRPC."""
    with pytest.raises(WrongAnswerError, match="UNAVAILABLE"):
        drivers.check_grpc(1, traffic.grpc_frame(), [])
