"""Whose requests are asked at once, and whose never: callers, models, forms and headers, on one connection in turns."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import replace

import numpy as np
import pytest

from gateway.compile import blueprint
from gateway.edge.coding import MIN_DEFLATE
from gateway.edge.messages import HttpResponse, RequestHead
from gateway.fronts.repeats import Repeats
from gateway.telemetry.recorder import Recorder
from tests.gateway.fronts.pairs import POLICY, QUESTION, TEXT, Pair, Start, question, text, until
from tests.gateway.fronts.twins import Gateway, body

MORE = POLICY.replace("models:", "aliases: {numbers: digits}\nmodels:") + POLICY.partition("models:\n")[2].replace(
    "digits:", "others:"
).replace("fast, cost: 2", "slow, cost: 7")


def of(asked: bytes, model: str) -> bytes:
    """The same of another model."""
    return asked.replace(b"/digits/", b"/%s/" % model.encode())


async def in_turns(both: Pair, *asked: bytes) -> list[dict[str, object]]:
    """Each is asked at once, whoever came before it; what their answers' JSON says."""
    for each in asked:
        await both.settled(each)
    found = []
    for each in asked * 2:
        reply = await both.same(each)
        assert both.to_the_end
        length = reply.headers.get("inference-header-content-length")
        found.append(json.loads(reply.body[: None if length is None else int(length)]))
    assert found[: len(asked)] == found[len(asked) :]
    return found[: len(asked)]


@pytest.mark.parametrize("asked", [QUESTION, TEXT])
async def test_models_in_turns(asked: bytes, pair: Start) -> None:
    """Each answer carries the name that was asked for, an alias too, and costs what its model does."""
    both = await pair(1, MORE)
    names = ["digits", "numbers", "others"]
    assert names == [told["model_name"] for told in await in_turns(both, *(of(asked, name) for name in names))]
    costs = [(await both.same(of(asked, name))).headers["x-penstock-cost"] for name in names]
    assert ["4", "4", "14"] == costs


async def test_beside_a_dearer_variant_with_a_price(pair: Start) -> None:
    """What the rows would have cost there is found out each time, as on the long way."""
    both = await pair(1, POLICY.replace("cost: 40}", "cost: {call: 50, row: 3}}"))
    await in_turns(both, question(rows=3))
    assert 59.0 == both.both[0].records[-1].baseline


async def test_callers_in_turns(pair: Start) -> None:
    """Each is written down by its own name; who says none is nobody."""
    both = await pair()
    nobody = QUESTION.replace(b"Authorization: ann\r\n", b"")
    await in_turns(both, QUESTION, question(Authorization="bob"), nobody)
    assert ["ann", "bob", "anonymous"] == [record.subject for record in both.both[0].records[-3:]]


async def test_lengths_in_turns(pair: Start) -> None:
    """Two are two heads, though they differ by that alone."""
    both = await pair()
    asked = QUESTION, question(rows=3)
    for each in asked * 3:
        await both.same(each)
    for each in asked * 2:
        await both.same(each)
        assert both.to_the_end


async def test_a_binary_question_that_is_answered_in_json(pair: Start) -> None:
    """Its answer's numbers are its own."""
    both = await pair()
    await both.settled(asks_json(0))
    for number in (1, 20, 0.5):
        reply = await both.same(asks_json(number))
        assert both.to_the_end
        assert [2 * number] * 2 == json.loads(reply.body)["outputs"][0]["data"]
    await both.settled(asks_json(0, 4000))
    for number in (1, 1.1):  # the answer to the second is too long to be looked through in no time
        assert 200 == (await both.same(asks_json(number, 4000))).status
        assert both.to_the_end is (number == 1)


def asks_json(number: float, rows: int = 2) -> bytes:
    """As question, but for the wish to have its answer in binary."""
    entry = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "parameters": {"binary_data_size": 8 * rows}}
    head = json.dumps({"inputs": [entry]}).encode()
    lines = (
        f"Host: h\r\nAuthorization: ann\r\nInference-Header-Content-Length: {len(head)}\r\nContent-Length: {len(head) + 8 * rows}"
    )
    return (
        f"POST /v2/models/digits/infer HTTP/1.1\r\n{lines}\r\n\r\n".encode() + head + np.full(2 * rows, number, "<f4").tobytes()
    )


UNFORMED = {
    "texts": text(json_of=json.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["abcd"]}]})),
    "long JSON": text(*range(8000)),
    "a long answer that is deflated": question(rows=400, Accept_Encoding="gzip"),
}


@pytest.mark.parametrize("what", UNFORMED)
async def test_what_has_no_form_takes_the_long_way(what: str, pair: Start) -> None:
    """Each time."""
    both = await pair()
    for _ in range(4):
        assert 200 == (await both.same(UNFORMED[what])).status
        assert not both.at_once


async def test_answers_with_long_json_take_the_long_way(pair: Start) -> None:
    """Much of it would be kept for each head."""
    both = await pair()
    both.words = ("wide",)
    for _ in range(4):
        assert 1100 < int((await both.same(QUESTION)).headers["inference-header-content-length"])
        assert not both.at_once


async def test_what_is_deflated(pair: Start) -> None:
    """An answer that is too short for it is passed on as it is, also to who takes what is deflated; any to who does not."""
    both = await pair()
    for coding, deflated in (("gzip", True), ("identity", False)):
        await both.settled(text(*sized(MIN_DEFLATE - 20), Accept_Encoding=coding))
        for size in (MIN_DEFLATE - 1, MIN_DEFLATE):
            reply = await both.same(text(*sized(size), Accept_Encoding=coding))
            long = deflated and size == MIN_DEFLATE
            assert (long, not long) == ("content-encoding" in reply.headers, both.to_the_end)
            assert long or size == len(reply.body)
    await both.settled(text(*sized(MIN_DEFLATE - 20)))
    await both.same(text(*sized(MIN_DEFLATE)))
    assert both.to_the_end


def sized(size: int) -> list[float]:
    """Numbers whose answer has so many bytes."""
    frame = b'{"model_name":"digits","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[220],"data":[]}]}'
    more = size - len(frame) - (4 * 220 - 1)  # sums of 2.0 and a comma each; some are a digit longer
    assert 0 <= more <= 220
    return [5 if row < more else 1 for row in range(220) for _ in range(2)]


async def test_a_coding_of_its_own(pair: Start) -> None:
    """Is never known: who says that its body is deflated is held to it."""
    both = await pair()
    head, _, plain = TEXT.partition(b"\r\n\r\n")
    frame = head.rpartition(b"\r\n")[0] + b"\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    packed = gzip.compress(plain)
    for _ in range(4):
        assert 200 == (await both.same(frame % len(packed) + packed)).status
        assert not both.at_once
    assert 400 == (await both.same(frame % len(plain) + plain)).status


class Lines:
    """Takes lines, and forgets them."""

    def put(self, line: bytes, /) -> None:
        """Takes one."""

    async def close(self) -> None:
        """Nothing is left."""


@pytest.mark.parametrize(("share", "recorded"), [("100%", True), ("100%", False), ("0%", True)])
async def test_samples(share: str, recorded: bool, pair: Start) -> None:
    """Every request of a route that is sampled is drawn; where none is, or nobody records any, they are asked at once."""
    both = await pair(1, POLICY.replace("use: fast}", f"use: fast, sample: {share}}}"))
    whole, (client, *_) = both.both[0], both.clients[0]
    if recorded:
        whole.front._parts = replace(whole.front._parts, samples=Recorder(Lines(), b"salt"))
    for _ in range(4):
        assert 200 == (await client.ask(QUESTION))[0]
    drawn = recorded and share != "0%"
    assert [drawn] * 4 == [record.drawn is not None for record in whole.records]
    assert (4 if drawn else 2) == whole.front.admitted


async def test_a_reload_before_the_answer(pair: Start) -> None:
    """Nothing of the policy that the answer was given by is kept."""
    both = await pair()
    whole, (client, *_) = both.both[0], both.clients[0]
    await client.ask(QUESTION)
    server = both.servers[0]
    server.words.append("late")
    client.send(QUESTION)
    await until(lambda: len(server.seen) == 2)
    whole.take(POLICY)
    assert 200 == (await client.reply()).status
    assert not whole.listener._shared.heads._sized


async def test_an_answer_that_came_in_tensors() -> None:
    """Has no bytes that others could begin with."""
    gateway = Gateway(Repeats(), blueprint(POLICY.replace("ENDPOINTS", '"127.0.0.1:1"').encode(), "p.yaml"))
    content, length = body(0, binary=True)
    assert length is not None
    headers = {"authorization": "ann", "inference-header-content-length": length}
    head = RequestHead("POST", "/v2/models/digits/infer", "", headers, "", time.monotonic(), True)
    admitted = gateway.front.admit(head)
    assert not isinstance(admitted, HttpResponse)
    answer = admitted(content)
    response = answer if isinstance(answer, HttpResponse) else await answer
    assert (200, None) == (response.status, response.alike)
    await gateway.close()
