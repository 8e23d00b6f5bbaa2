"""Questions and answers over a real pair of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gateway.workers.channel import FETCHED, LAST, METRICS, POLICY, Answers, Questions


@dataclass
class Pair:
    questions: Questions
    answers: Answers
    worker: asyncio.StreamWriter
    listening: asyncio.Task[None]
    fetched: list[bytes]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Both ends of one line."""
    ours, theirs = socket.socketpair()
    parent, worker = await asyncio.open_unix_connection(sock=ours), await asyncio.open_unix_connection(sock=theirs)
    fetched: list[bytes] = []
    questions = Questions(*parent, fetched.append)
    made = Pair(questions, Answers(*worker), worker[1], asyncio.create_task(questions.listen()), fetched)
    yield made
    worker[1].close()
    await made.listening


async def shout(content: bytes) -> bytes:
    return content.upper()


async def nothing(_: bytes) -> bytes:
    return b""


async def test_each_question_has_its_answer_in_order(pair: Pair) -> None:
    """Also one asked before the answer to another, and a large one."""
    answering = asyncio.create_task(pair.answers.give({METRICS: nothing, POLICY: shout}))
    first, second = pair.questions.ask(POLICY, b"x" * 3_000_000), pair.questions.ask(METRICS)
    assert (b"X" * 3_000_000, b"") == (await first, await second)
    answering.cancel()


async def test_fetched_keys_are_told_unasked(pair: Pair) -> None:
    """Between answers, to whom they are for; no answer is taken for them."""
    pair.answers.say(FETCHED, b"keys")
    answering = asyncio.create_task(pair.answers.give({METRICS: shout}))
    assert b"M" == await pair.questions.ask(METRICS, b"m")
    assert [b"keys"] == pair.fetched
    answering.cancel()


async def test_an_answer_nobody_waits_for_disturbs_no_other(pair: Pair) -> None:
    """Who gave up does not get the next one's answer."""
    given_up, kept = pair.questions.ask(POLICY, b"one"), pair.questions.ask(POLICY, b"two")
    given_up.cancel()
    answering = asyncio.create_task(pair.answers.give({POLICY: shout}))
    assert b"TWO" == await kept
    answering.cancel()


async def test_open_questions_end_with_the_worker(pair: Pair) -> None:
    """What was asked before and what is asked after fail alike; what the worker said last is kept."""
    asked = pair.questions.ask(METRICS)
    await pair.answers.tell(LAST, b"farewell")
    pair.worker.close()
    with pytest.raises(ConnectionError):
        await asked
    with pytest.raises(ConnectionError):
        await pair.questions.ask(METRICS)
    assert b"farewell" == pair.questions.last


async def test_nobody_need_wait_for_a_question_to_who_has_ended(pair: Pair) -> None:
    """Whether it was asked before or after: what is dropped is no fault that a log would tell."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    before = pair.questions.ask(POLICY)
    pair.worker.close()
    await pair.listening
    after = pair.questions.ask(POLICY)
    assert after.done()
    del before, after
    assert [] == complaints


async def test_a_worker_notices_that_it_is_alone() -> None:
    """The end of the parent, in whatever way, ends its end of the line."""
    ours, theirs = socket.socketpair()
    answers = Answers(*await asyncio.open_unix_connection(sock=theirs))
    ours.close()
    await asyncio.wait_for(answers.give({}), 1)
