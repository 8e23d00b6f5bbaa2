"""What routing looks at beside a request's head."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, Tensors, TensorSpec
from backends.protocols.v2_grpc import decode_request as from_grpc
from backends.protocols.v2_http_request import decode_request as from_http
from backends.tensors import Tensor, pack_bytes
from gateway.question import beginnings, longest, looked_at, priority_asked, priority_granted, takes_long
from routing.conditions import Looks
from routing.match import Question
from routing.principal import Principal
from routing.prompt.scorer import MOST_TEXTS, PromptRouter, Scorer, Term

TEXTS = [b"a", "äöü".encode(), b"", b"\xff\xfe"]


def question(**headers: str) -> Question:
    return Question(Principal("ann"), headers, 1, {}, "", "r")


def request(*tensors: Tensor) -> InferenceRequest:
    specs = tuple(TensorSpec(each.name, each.datatype, each.shape) for each in tensors)
    return InferenceRequest("m", "", "", {}, specs, (), Tensors(tensors))


class Unread:
    """A payload that nobody may look at."""

    def tensors(self) -> tuple[Tensor, ...]:
        raise AssertionError("looked at")


def test_only_what_is_asked_for_is_found_out() -> None:
    """A model that looks at priorities has no tensor decoded, and one that looks at sizes reads no priority."""
    blind = InferenceRequest("m", "", "", {}, (), (), Unread())
    assert looked_at(asked := question(**{"x-priority": "none"}), None, blind) is asked
    assert 3 == looked_at(question(**{"x-priority": "3"}), Looks(priority=True), blind).priority
    found = looked_at(question(**{"x-priority": "none of ours"}), Looks(size=True), request(Tensor("x", "FP32", (2,), bytes(8))))
    assert (None, 8, {}) == (found.priority, found.size, found.text_lengths)


def test_texts() -> None:
    """Of the named inputs that are texts: characters of the longest element, 0 where there is none."""
    inputs = [
        Tensor("prompt", "BYTES", (4,), pack_bytes(TEXTS)),
        Tensor("none", "BYTES", (0,), b""),
        Tensor("other", "BYTES", (1,), pack_bytes([b"long enough"])),
        Tensor("number", "INT8", (1,), b"\0"),
    ]
    found = looked_at(question(), Looks(texts=frozenset({"prompt", "none", "number", "missing"})), request(*inputs))
    assert {"prompt": 3, "none": 0} == found.text_lengths


def test_sizes_are_the_same_in_every_dialect() -> None:
    """Bytes of the tensors in binary form: JSON, binary, gRPC with its own fields or with raw contents."""
    number = '{"name":"x","datatype":"INT32","shape":[2],"data":[1,2]}'
    json = f'{{"inputs":[{number},{{"name":"t","datatype":"BYTES","shape":[1],"data":["ab"]}}]}}'.encode()
    typed, raw = pb.ModelInferRequest(model_name="m"), pb.ModelInferRequest(model_name="m")
    for message in (typed, raw):
        message.inputs.add(name="x", datatype="INT32", shape=[2])
        message.inputs.add(name="t", datatype="BYTES", shape=[1])
    typed.inputs[0].contents.int_contents.extend([1, 2])
    typed.inputs[1].contents.bytes_contents.append(b"ab")
    raw.raw_input_contents.extend([bytes(8), pack_bytes([b"ab"])])
    asks = [from_http(json, None, "m", ""), *(from_grpc(each.SerializeToString()) for each in (typed, raw))]
    looks = Looks(size=True, texts=frozenset({"t"}))
    assert [(14, {"t": 2})] * 3 == [
        (each.size, each.text_lengths) for each in (looked_at(question(), looks, ask) for ask in asks)
    ]


@given(st.lists(st.text() | st.binary()))
def test_the_longest(texts: list[str | bytes]) -> None:
    """As if every element were decoded."""
    elements = [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts]
    expected = max((len(element.decode("utf-8", "replace")) for element in elements), default=0)
    assert expected == longest(pack_bytes(elements))


def test_a_text_is_read_in_time_that_grows_with_it() -> None:
    """Elements that grow one by one, each of them the longest so far, are no trap."""
    data = pack_bytes([b"x" * size for size in range(2000)])
    begin = time.process_time()
    assert 1999 == longest(data)
    assert time.process_time() - begin < 1


def test_what_takes_long() -> None:
    """Texts and fields of a gRPC message are walked through, arrays in binary are not; who looks at nothing never waits."""
    array, text = Tensor("x", "FP32", (1,), bytes(4)), Tensor("t", "BYTES", (1,), pack_bytes([b"a"]))
    typed = pb.ModelInferRequest(model_name="m")
    typed.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(0)
    size, texts = Looks(size=True), Looks(texts=frozenset({"t"}))
    for looks in (size, texts):
        assert not takes_long(looks, request(array))
        assert takes_long(looks, request(array, text))
        assert takes_long(looks, from_grpc(typed.SerializeToString()))
    assert not takes_long(Looks(priority=True), request(text))
    assert not takes_long(None, request(text))


@pytest.mark.parametrize("written", ["", "10", "-1", "a", "1.0", " 1", "\u0661"])
def test_no_priority(written: str) -> None:
    """Anything but one digit is the client's mistake."""
    with pytest.raises(InferenceError) as caught:
        priority_asked({"x-priority": written})
    assert (ErrorKind.INVALID, "priority") == (caught.value.kind, caught.value.reason)


def test_priorities() -> None:
    """From 0 to 9, or none at all."""
    assert [0, 9, None] == [priority_asked(headers) for headers in ({"x-priority": "0"}, {"x-priority": "9"}, {})]


def test_only_who_has_the_scope_goes_before_others() -> None:
    """Anybody may stand back; a claim to be better than the middle counts as the middle without the scope."""
    anybody, trusted = Principal("ann"), Principal("bob", scopes=frozenset({"models:priority"}))
    asked = [{"x-priority": given} for given in ("0", "4", "5", "9", "10", "high")]
    assert [5, 5, 5, 9, None, None] == [priority_granted(headers, anybody) for headers in asked]
    assert [0, 4, 5, 9, None, None] == [priority_granted(headers, trusted) for headers in asked]
    assert priority_granted({}, trusted) is None


SCORER = Scorer((Term("prove", 1, 4.0), Term("hello", 1, -4.0)), documents=2, intercept=0.0, characters=20)
SCORES = Looks(prompts=frozenset({"hard"}), routers=(PromptRouter("hard", "prompt", "00" * 32, SCORER),))


def scored(*texts: bytes) -> dict[str, int]:
    """What the router makes of these elements of its input, beside an input that is none of its business."""
    prompt = Tensor("prompt", "BYTES", (len(texts),), pack_bytes(list(texts)))
    return dict(looked_at(question(), SCORES, request(prompt, Tensor("other", "BYTES", (1,), pack_bytes([b"prove"])))).prompts)


def test_the_hardest_of_the_first_texts_is_the_score() -> None:
    """Of so many that planning stays cheap, each cut where the router cuts, whatever bytes they are."""
    hard, easy = int(SCORER.score("prove") * 1e6), int(SCORER.score("hello") * 1e6)
    assert {"hard": hard} == scored(b"hello", b"\xffPROVE\xfe", b"none")
    assert {"hard": easy} == scored(*[b"hello"] * MOST_TEXTS, b"prove")
    assert {"hard": 500_000} == scored(b" " * 20 + b"prove")


def test_without_the_router_s_texts_there_is_no_score() -> None:
    """An input that is not there, holds no text, or is not of BYTES."""
    assert {} == scored()
    numbers = request(Tensor("prompt", "INT8", (5,), b"prove"))
    assert {} == looked_at(question(), SCORES, numbers).prompts
    assert {} == looked_at(question(), SCORES, request()).prompts
    assert takes_long(SCORES, request(Tensor("prompt", "BYTES", (0,), b"")))


@given(st.lists(st.text() | st.binary()), st.integers(1, 9))
def test_beginnings_are_those_of_the_whole_text(texts: list[str | bytes], characters: int) -> None:
    """Decoded no further than the cut, and the same up to there as if they had been decoded whole."""
    each = [text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for text in texts]
    whole = [str(text, "utf-8", "replace")[:characters] for text in each]
    assert whole == [found[:characters] for found in beginnings(pack_bytes(each), characters)]
