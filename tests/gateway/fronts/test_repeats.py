"""Questions that come again: found only where they are the same, and within a bound."""

from __future__ import annotations

from backends.inference import InferenceRequest, InferenceResponse, Tensors
from backends.protocols.v2_http_request import HttpQuestion, decode_request
from gateway.fronts.repeats import LONGEST, Repeats, place
from routing.principal import Principal

ANN = Principal("ann", "acme")
BODY = b'{"id":"a","inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
ANSWER = InferenceResponse("digits", "1", "", {}, Tensors(()))


def question(body: bytes = BODY) -> InferenceRequest:
    return decode_request(body, None, "digits", "7", (("x-request-id", "r"),))


def test_only_the_same_question_of_the_same_principal_is_found() -> None:
    """Another subject, tenant, model, length of the head or byte is another question."""
    repeats = Repeats()
    at = place(ANN, "digits", None, BODY)
    kept = repeats.keep(at, question(), 0)
    assert kept is not None
    assert kept is repeats.find(place(Principal("ann", "acme", "gold"), "digits", None, bytes(bytearray(BODY))))
    others = [
        place(Principal("bob", "acme"), "digits", None, BODY),
        place(Principal("ann"), "digits", None, BODY),
        place(Principal("acme", "ann"), "digits", None, BODY),
        place(ANN, "letters", None, BODY),
        place(ANN, "digits", "40", BODY),
        *(place(ANN, "digits", None, BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1 :]) for index in range(len(BODY))),
    ]
    assert {None} == {repeats.find(other) for other in others}


def test_it_is_asked_as_it_comes_now() -> None:
    """Version and headers are the request's own; the tensors are those that were read, and are known to come again."""
    asked = question()
    kept = Repeats().keep(place(ANN, "digits", None, BODY), asked, 0)
    assert kept is not None
    again = kept.again("3", (("x-request-id", "s"),))
    assert ("3", (("x-request-id", "s"),), "a") == (again.version, again.headers, again.id)
    assert again.payload is asked.payload
    assert ("", ()) == (kept.request.version, kept.request.headers)
    assert isinstance(again.payload, HttpQuestion)
    assert {} == again.payload.derived


def test_there_is_a_bound() -> None:
    """Beyond it all is forgotten; what is long is not kept at all, nor is a long answer."""
    repeats = Repeats(room=10_000)
    places = [place(ANN, "digits", None, b'{"n":%d}' % number) for number in range(9)]
    for at in places:
        assert repeats.keep(at, question(), 0) is not None
    assert 0 < len([at for at in places if repeats.find(at)]) < 5
    assert repeats.find(places[-1]) is not None
    assert repeats.keep(place(ANN, "digits", None, b"x" * (LONGEST + 1)), question(), 0) is None
    kept = repeats.find(places[-1])
    assert kept is not None
    repeats.write(kept, ANSWER, (b"x" * (LONGEST + 1), ()))
    assert b"" == kept.written[0]
    repeats.write(kept, ANSWER, (b"short", ()))
    assert b"short" == kept.written[0]
    assert kept.response is ANSWER
    for _ in range(3):  # an answer in place of another takes the difference
        repeats.write(kept, ANSWER, (b"x" * 3000, ()))
    assert repeats.find(places[-1]) is kept
    repeats.write(kept, ANSWER, (b"x" * 12_000, ()))
    assert repeats.find(places[-1]) is None


def test_rows_that_are_kept_apart_take_room_of_their_own() -> None:
    """Else a few large batches would hold more than the bound."""
    repeats = Repeats(room=10_000)
    assert repeats.keep(place(ANN, "digits", None, b"1"), question(), 1)
    assert repeats.keep(place(ANN, "digits", None, b"2"), question(), 9)
    assert repeats.find(place(ANN, "digits", None, b"1")) is None
