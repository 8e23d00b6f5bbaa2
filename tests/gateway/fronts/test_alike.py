"""Requests whose head came before: asked at once where all is as it was, and never unlike those that took the long way."""

from __future__ import annotations

import asyncio
import gzip
import json
import re

import numpy as np
import pytest

from tests.gateway.fronts.pairs import POLICY, QUESTION, TEXT, Start, question, text


async def test_a_head_that_came_before_is_asked_at_once(pair: Start) -> None:
    """Whatever its tensors are, and from whichever connection; each with an id of its own."""
    both = await pair(clients=2)
    await both.settled()
    for number, client in ((1, 0), (2, 1), (3, 0), (4, 1)):
        reply = await both.same(question(number), client=client)
        assert both.at_once
        assert np.full(2, 2 * number, "<f4").tobytes() == reply.body[int(reply.headers["inference-header-content-length"]) :]
    ids = [(await both.clients[0][0].ask(QUESTION)).headers["x-request-id"] for _ in range(3)]
    heads = [head for head, _ in both.servers[0].seen[-3:]]
    assert all(f"x-request-id: {id}\r\n".encode() in head for id, head in zip(ids, heads, strict=True))
    assert 3 == len(set(ids))


async def test_numbers_in_json_are_asked_at_once(pair: Start) -> None:
    """However long they are written."""
    both = await pair(clients=2)
    await both.settled(TEXT)
    nested = TEXT.partition(b"\r\n\r\n")[2].replace(b"[1, 2, 3, 4]", b"[[1, 2], [3, 4]]").decode()
    await both.same(text(json_of=nested))
    assert both.at_once
    for numbers, sums, client in (
        ((5, 6, 7, 8), (11, 15), 0),
        ((1.5, 0, -100000, 1e-3), (1.5, -99999.999), 1),
        ((0, 0, 0, 0), (0, 0), 0),
    ):
        reply = await both.same(text(*numbers), client=client)
        assert both.at_once
        assert np.allclose(sums, json.loads(reply.body)["outputs"][0]["data"])
    await both.settled(QUESTION)  # beside it, on the same connection
    await both.same(TEXT)
    assert both.at_once


BAD = {
    "another shape": text(1, 2, 3, 4, 5, 6),
    "too few": TEXT.replace(b"1, 2, 3, 4", b"1, 2, 3"),
    "no number": TEXT.replace(b"1, 2", b"1, x"),
    "a text": TEXT.replace(b"1, 2", b'"", 2'),
    "not finite": TEXT.replace(b"1, 2, 3, 4", b"NaN, 2, 3, 4"),
    "too large": TEXT.replace(b"1, 2", b"1e99, 2"),
    "another name": TEXT.replace(b'"x"', b'"w"'),
    "a key twice": TEXT.replace(b'"name"', b'"data": [1], "name"'),
    "an escape": TEXT.replace(b'"data"', b'"d\\u0061ta"'),
    "more": TEXT.replace(b"}]}", b'}], "id": "a"}'),
    "white space": TEXT.replace(b"}]}", b"}] }"),
    "no JSON": TEXT.replace(b"}]}", b"}]]"),
}


@pytest.mark.parametrize("what", BAD)
async def test_json_that_is_not_alike_is_read(what: str, pair: Start) -> None:
    """And answered, or refused, as ever."""
    both = await pair()
    await both.settled(TEXT)
    head, _, body = BAD[what].partition(b"\r\n\r\n")
    asked = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body
    await both.same(asked)
    assert not both.at_once
    await both.same(TEXT)
    assert both.at_once


async def test_answers_in_json(pair: Start) -> None:
    """Under the public name; of another version, or of a length that this client wants deflated, as ever."""
    both = await pair(1, POLICY)
    await both.settled(TEXT)
    both.words = ("longer",)
    assert "1234" == (await both.same(TEXT)).headers["x-model-version"]
    both.words = ()
    reply = await both.same(TEXT)
    assert "digits" == json.loads(reply.body)["model_name"]
    many = tuple(range(200)), tuple(1 / 7 + each for each in range(200))
    short, long = (text(*numbers, Accept_Encoding="gzip") for numbers in many)
    await both.settled(short)
    for _ in range(2):
        reply = await both.same(long)
        assert ("gzip", 200) == (
            reply.headers["content-encoding"],
            len(json.loads(gzip.decompress(reply.body))["outputs"][0]["data"]) * 2,
        )


HEADS = {
    "another header": question(X_Other="1"),
    "another caller": question(Authorization="bob"),
    "a stranger": question(Authorization="other"),
    "another length": question(rows=3),
    "a deadline": question(X_Request_Timeout_Ms="4000"),
    "an id of its own": question(X_Request_Id="mine"),
    "a trace": question(Traceparent="00-" + "1" * 32 + "-" + "1" * 16 + "-01"),
    "not to be done twice": question(Idempotency_Key="1"),
    "a version": question(X_Model_Version="1"),
    "the last": question(Connection="close"),
}


@pytest.mark.parametrize("what", HEADS)
async def test_another_head_takes_the_long_way(what: str, pair: Start) -> None:
    """However like it is."""
    both = await pair()
    await both.settled()
    await both.same(HEADS[what])
    assert not both.at_once


@pytest.mark.parametrize("what", ["an id of its own", "a trace", "not to be done twice", "a version"])
async def test_what_is_each_requests_own_is_never_known(what: str, pair: Start) -> None:
    """Though it may come in the same bytes."""
    both = await pair()
    for _ in range(4):
        await both.same(HEADS[what])
        assert not both.at_once


async def test_the_same_length_and_another_json(pair: Start) -> None:
    """Other names, shapes and lies of the same length are read, and refused as ever."""
    both = await pair()
    await both.settled()
    for old, new in (
        (b'"x"', b'"z"'),
        (b"[2, 2]", b"[4, 1]"),
        (b"[2, 2]", b"[2, 3]"),
        (b"FP32", b"FP64"),
        (b'"shape"', b'"shade"'),
    ):
        asked = QUESTION.replace(old, new)
        await both.same(asked)
        assert not both.at_once
    await both.same(QUESTION)
    assert both.at_once


async def test_a_body_in_pieces(pair: Start) -> None:
    """Is admitted as soon as its head is there, and asked at once when it is whole."""
    both = await pair()
    await both.settled()
    for at in (1, 100, len(QUESTION) - 20, len(QUESTION) - 1):
        before = both.both[0].front.admitted
        for clients in both.clients:
            clients[0].send(QUESTION[:at])
            await asyncio.sleep(0.01)
        await both.same(QUESTION[at:])
        assert (at > QUESTION.index(b"\r\n\r\n")) == both.both[0].front.admitted - before


async def test_pipelined_requests_are_answered_in_order(pair: Start) -> None:
    """One at a time."""
    both = await pair()
    await both.settled()
    for clients in both.clients:
        clients[0].send(b"".join(question(number) for number in range(20)))
        sums = [np.frombuffer((await clients[0].reply()).body[-4:], "<f4")[0] for _ in range(20)]
        assert [2.0 * number for number in range(20)] == sums
