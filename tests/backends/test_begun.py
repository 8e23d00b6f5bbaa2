"""First attempts that are sent at once, over real sockets: each of their endings, and that nothing is held after it."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from time import monotonic

import numpy as np
import pytest
from msgspec.structs import replace

from backends.balance import Balance
from backends.begun import Begun
from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.http1.pool import HttpPool, PoolLimits
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.protocols.v2_http_request import decode_request
from backends.rules import Ejection, Hedge, Retry, Rules
from backends.triton_http import Form, TritonHttp

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
ENTRY = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
HEAD = json.dumps({"inputs": [ENTRY]}).encode()
TENSORS = np.ones(2, "<f4").tobytes()


def asked(body: bytes = HEAD + TENSORS) -> InferenceRequest:
    """The question, read."""
    return decode_request(body, str(len(HEAD)), "m", "", (("x-request-id", "long"),))


class Backend:
    """Takes one word of `words` for each question: ok, 400, 500, closed, half an answer, or hung until `gate`."""

    def __init__(self) -> None:
        self.words: deque[str] = deque()
        self.seen: list[bytes] = []
        self.came, self.gate, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(self, reader: Reader, writer: Writer) -> None:
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()

    async def _answer(self, reader: Reader, writer: Writer) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await reader.readexactly(int(lines[b"content-length"]))
        self.seen.append(lines[b"x-request-id"])
        self.came.set()
        word = self.words.popleft() if self.words else "ok"
        if word in ("closed", "half"):
            writer.write(b"HTTP/1.1 200" if word == "half" else b"")
            writer.close()
            return False
        if word == "hung":
            told = asyncio.ensure_future(self.gate.wait())
            gone = asyncio.ensure_future(reader.read(1))
            done, _ = await asyncio.wait((told, gone), return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if gone in done:
                self.left.set()
                return False
            gone.cancel()
        text = b'{"error":"no"}' if word in ("400", "500") else b'{"model_name":"m","model_version":"1","outputs":[]}'
        status = word if word in ("400", "500") else "200"
        writer.write(b"HTTP/1.1 %s No\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(text), text))
        return True


class Site:
    """A cluster of one endpoint before it. `told` counts, `sent` are the outcomes of attempts."""

    def __init__(self, port: int, rules: Rules) -> None:
        self.sent: list[str] = []
        self.told = asyncio.Event()
        self.tells = 0
        self.pool = HttpPool("127.0.0.1", port, PoolLimits(), "triton")
        self.endpoint = Endpoint("one", TritonHttp(self.pool, "triton"), rules.breaker)
        self.cluster = Cluster("triton", [self.endpoint], Balance("round-robin", lambda: 0.0), rules, self._sent)
        self.form: Form

    def _sent(self, cluster: str, endpoint: str, outcome: str) -> None:
        self.sent.append(outcome)

    def _tell(self) -> None:
        self.tells += 1
        self.told.set()

    def hold(self, seconds: float = 5.0) -> Begun | None:
        return self.cluster.begin(self.form, soon(seconds), monotonic(), self._tell)

    def begin(self, seconds: float = 5.0) -> Begun:
        begun = self.hold(seconds)
        assert begun is not None
        begun.send(b"short", TENSORS)
        return begun

    async def until_told(self) -> None:
        async with asyncio.timeout(5):
            await self.told.wait()

    async def take_over(self, begun: Begun, seconds: float = 5.0) -> InferenceResponse:
        return await self.cluster.infer(begun.about(asked()), soon(seconds))

    def held(self) -> list[int]:
        lanes = [lane.in_flight for lane in self.cluster.places.lanes.values()]
        counts = [self.cluster.in_flight, self.endpoint.in_flight, self.pool.in_flight]
        return [*lanes, *counts, len(self.cluster.alarms._at), len(self.pool._alarms._at)]


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline(monotonic() + seconds)


async def failed(asking: Awaitable[InferenceResponse]) -> ErrorKind:
    """How; nothing keeps the error."""
    try:
        await asking
    except InferenceError as error:
        error.ended()
        return error.kind
    raise AssertionError("it was answered")


@pytest.fixture
async def backend() -> Backend:
    """The server."""
    return Backend()


@pytest.fixture
async def site(backend: Backend) -> AsyncIterator[Site]:
    """The cluster, with one idle connection; at the end nothing is in flight, and nothing was left to the collector."""
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    here = Site(server.sockets[0].getsockname()[1], Rules(retry=Retry(2, 1.0), breaker=Ejection(100, 1.0)))
    form = here.cluster.form(asked())
    assert form is not None
    here.form = form
    await here.cluster.infer(asked(), soon())
    here.sent.clear()
    backend.came.clear()
    gc.collect()
    gc.disable()
    yield here
    try:
        assert not any(here.held())
        assert not [each for each in gc.get_objects() if isinstance(each, Begun)]
    finally:
        gc.enable()
        await here.cluster.close()
        server.close()


async def test_finished(site: Site, backend: Backend) -> None:
    """Its answer is there when it is told, once; it is counted, and its connection is the next one's."""
    for _ in range(3):
        site.told.clear()
        begun = site.begin()
        assert [1] * 5 == site.held()[:5]
        await site.until_told()
        assert begun.answer is not None
        assert (200, b'{"model_name"') == (begun.answer.status, begun.answer.body[:13])
        assert 0 < begun.finish() < 5
        assert begun.ended
    assert (["ok"] * 3, [b"long", *[b"short"] * 3], 3) == (site.sent, backend.seen, site.tells)
    assert (4, 1) == (site.endpoint.answers, site.pool.idle)


async def test_released(site: Site, backend: Backend) -> None:
    """What was not sent leaves no trace."""
    begun = site.hold()
    assert begun is not None
    begun.release()
    assert ([], [b"long"], 0, 1) == (site.sent, backend.seen, site.tells, site.pool.idle)
    site.begin().abandon()


@pytest.mark.parametrize("seconds", [-1.0, 0.0])
async def test_it_is_not_begun_where_there_is_no_time(site: Site, seconds: float) -> None:
    """Nor where an answer takes longer than there is time."""
    assert site.hold(seconds) is None
    (lane,) = site.cluster.places.lanes.values()
    assert site.hold(lane.concurrency.quickest / 2) is None


async def test_it_is_not_begun_where_somebody_else_is_to_decide(site: Site) -> None:
    """No place, a doubtful endpoint, no idle connection: whoever comes next is not the worse for it."""
    (lane,) = site.cluster.places.lanes.values()
    site.cluster.places.most = 0
    assert site.hold() is None
    site.cluster.places.most = 256
    site.endpoint.drain(True, 0.0)
    assert site.hold() is None
    site.endpoint.sound = True
    busy = site.begin()
    assert site.hold() is None
    assert 1 == lane.in_flight
    await site.until_told()
    busy.finish()


@pytest.mark.parametrize("word", ["ok", "400"])
async def test_taken_over_with_its_answer(site: Site, backend: Backend, word: str) -> None:
    """It is read as any other, and nobody is asked again."""
    backend.words.append(word)
    begun = site.begin()
    await site.until_told()
    if word == "ok":
        assert "1" == (await site.take_over(begun)).version
    else:
        assert ErrorKind.INVALID is await failed(site.take_over(begun))
    assert (["ok" if word == "ok" else "invalid"], 1) == (site.sent, site.pool.idle)
    assert [b"long", b"short"] == backend.seen
    assert begun.ended


@pytest.mark.parametrize("word", ["500", "half"])
async def test_taken_over_with_a_failure(site: Site, backend: Backend, word: str) -> None:
    """What may be asked once more is."""
    backend.words.append(word)
    begun = site.begin()
    await site.until_told()
    assert "1" == (await site.take_over(begun)).version
    assert (["broken", "ok"], [b"long", b"short", b"long"]) == (site.sent, backend.seen)


async def test_an_idle_connection_that_was_closed_meanwhile(site: Site, backend: Backend) -> None:
    """Nothing came back on it: it is asked anew, which is no failure of the endpoint's."""
    backend.words.append("closed")
    begun = site.begin()
    await site.until_told()
    assert begun.answer is None
    assert "1" == (await site.take_over(begun)).version
    assert (["ok"], [b"long", b"short", b"long"]) == (site.sent, backend.seen)


async def test_one_that_is_not_to_be_asked_twice_is_not(site: Site, backend: Backend) -> None:
    """Nobody knows what became of it."""
    backend.words.append("closed")
    begun = site.begin()
    await site.until_told()
    request = replace(asked(), headers=(*asked().headers, ("idempotency-key", "1")))
    assert ErrorKind.BROKEN is await failed(site.cluster.infer(begun.about(request), soon()))
    assert (["broken"], [b"long", b"short"]) == (site.sent, backend.seen)


async def test_one_that_takes_long(site: Site, backend: Backend) -> None:
    """Is told once, without an answer; whoever goes on with it has that when it comes."""
    backend.words.append("hung")
    begun = site.begin()
    await site.until_told()
    assert begun.answer is None
    going = asyncio.create_task(site.take_over(begun))
    await asyncio.sleep(0)
    backend.gate.set()
    assert "1" == (await going).version
    assert (["ok"], [b"long", b"short"], 1) == (site.sent, backend.seen, site.tells)


async def test_an_answer_that_comes_between(site: Site, backend: Backend) -> None:
    """After it was told that it takes long, and before anybody goes on with it."""
    backend.words.append("hung")
    begun = site.begin()
    await site.until_told()
    backend.gate.set()
    async with asyncio.timeout(5):
        while begun.answer is None:  # noqa: ASYNC110 - nobody tells, which is what this is about
            await asyncio.sleep(0.001)
    assert "1" == (await site.take_over(begun)).version
    assert 1 == site.tells


async def test_time_that_is_up_while_it_is_waited_for(site: Site, backend: Backend) -> None:
    """Ends it, and the backend hears of it."""
    backend.words.append("hung")
    begun = site.begin(0.1)
    await site.until_told()
    assert ErrorKind.DEADLINE is await failed(site.take_over(begun, 0.02))
    async with asyncio.timeout(5):
        await backend.left.wait()
    assert (["deadline"], 0) == (site.sent, site.pool.idle)


async def test_whoever_goes_on_with_it_may_leave(site: Site, backend: Backend) -> None:
    """The backend hears of it, too."""
    backend.words.append("hung")
    begun = site.begin()
    await site.until_told()
    going = asyncio.create_task(site.take_over(begun))
    await asyncio.sleep(0)
    going.cancel()
    assert isinstance((await asyncio.gather(going, return_exceptions=True))[0], asyncio.CancelledError)
    async with asyncio.timeout(5):
        await backend.left.wait()
    assert (["abandoned"], 0) == (site.sent, site.pool.idle)
    del going
    gc.collect()  # a cancelled task is a circle of asyncio's own


async def test_abandoned_before_its_answer(site: Site, backend: Backend) -> None:
    """The connection is closed, and it is not told any more."""
    backend.words.append("hung")
    begun = site.begin()
    async with asyncio.timeout(5):
        await backend.came.wait()
    assert begun.abandon() > 0
    async with asyncio.timeout(5):
        await backend.left.wait()
    assert (["abandoned"], 0, 0) == (site.sent, site.pool.idle, site.tells)


async def test_abandoned_with_its_answer(site: Site) -> None:
    """The connection is as good as ever."""
    begun = site.begin()
    await site.until_told()
    begun.abandon()
    assert (["abandoned"], 1) == (site.sent, site.pool.idle)


async def test_it_goes_on_as_nothing_but_itself(site: Site, backend: Backend) -> None:
    """Another model, other tensors, another cluster, once more: these are asked on their own."""
    begun = site.begin()
    await site.until_told()
    request = begun.about(asked())
    others = (replace(request, model="other"), replace(request, version="2"), replace(request, payload=Tensors(())))
    assert [False] * 3 == [begun.asks(other) for other in others]
    await site.cluster.infer(others[1], soon())
    assert begun.asks(request)
    elsewhere = Site(site.pool._port, Rules())
    await elsewhere.cluster.infer(request, soon())
    await elsewhere.cluster.close()
    assert begun.asks(request)
    await site.cluster.infer(request, soon())
    assert not begun.asks(request)
    await site.cluster.infer(request, soon())
    assert [b"long", b"short", b"long", b"long", b"long"] == backend.seen


async def test_a_question_in_another_form_has_none(site: Site) -> None:
    """Such as tensors that are decoded already; and where questions are hedged."""
    assert site.cluster.form(replace(asked(), payload=Tensors(()))) is None
    assert Site(site.pool._port, Rules(hedge=Hedge())).cluster.form(asked()) is None


@pytest.mark.parametrize(("seconds", "after"), [(10.0, 0.1), (0.08, 0.04)])
async def test_when_it_takes_long(site: Site, seconds: float, after: float) -> None:
    """As for an attempt that is watched: soon, or when half of its time is up."""
    begun = site.begin(seconds)
    assert pytest.approx(begun.deadline.at - seconds + after, abs=0.01) == site.cluster.alarms._at[begun]
    begun.abandon()


async def test_who_was_not_asked_after_all_is_the_next(site: Site, backend: Backend) -> None:
    """Of several endpoints that take turns."""
    one, other = site.endpoint, Site(site.pool._port, Rules()).endpoint
    cluster = Cluster("triton", [one, other], Balance("round-robin", lambda: 0.0), Rules(), site._sent)
    for _ in range(2):
        await cluster.infer(asked(), soon())
    for _ in range(2):
        begun = cluster.begin(site.form, soon(), monotonic(), site._tell)
        assert begun is not None
        assert (1, 0) == (one.in_flight, other.in_flight)
        begun.release()
    await cluster.close()


async def test_it_began_when_it_was_sent(site: Site) -> None:
    """Not when somebody goes on with it: half of its time is counted from there."""
    before = monotonic()
    begun = site.begin()
    now = monotonic()
    await site.until_told()
    attempt = begun.attempt(asked(), soon())
    assert before <= attempt.began <= now
    with attempt:
        await begun.response(asked(), soon())
    site.cluster.places.back(begun.place[0])
