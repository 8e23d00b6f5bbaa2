"""What the caches have in common: the client's wishes, and answers and questions without their client."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from backends.inference import InferenceResponse, Tensors, TensorSpec
from backends.tensors import Tensor
from policies.call import Call
from policies.keeping import anonymous, plain, sized, wished
from routing.match import Question


@pytest.mark.parametrize(
    ("said", "wishes"),
    [("", set()), ("no-cache", {"no-cache"}), ("max-age=0 , No-Store", {"max-age", "no-store"}), (",=,", {""})],
)
def test_wishes_are_names(make_call: Callable[..., Call], said: str, wishes: set[str]) -> None:
    """In small letters, without their values; whoever says nothing wishes nothing."""
    call = make_call()
    assert set() == set(wished(call))
    heard = Question(call.principal, {"cache-control": said}, 1, {}, "", "r")
    assert wishes == set(wished(replace(call, question=heard)))


def test_a_question_without_its_client(make_call: Callable[..., Call]) -> None:
    """Its tensors as they are, told anew, and no id."""
    request = make_call(2).request
    (tensor,) = request.payload.tensors()
    found = anonymous(request, (tensor,))
    assert ("", (TensorSpec("x", "FP32", (2, 1)),), (tensor,)) == (found.id, found.inputs, found.payload.tensors())


def test_an_answer_without_its_message() -> None:
    """No view of the message that it came in is left, and no id; its size is its bytes and something for each tensor."""
    message = memoryview(b"head12345678tail")
    response = InferenceResponse("m", "1", "id", {"a": 1}, Tensors((Tensor("y", "INT64", (1,), message[4:12]),)))
    found = plain(response)
    (tensor,) = found.payload.tensors()
    assert (bytes, b"12345678", "", {"a": 1}) == (type(tensor.data), tensor.data, found.id, found.parameters)
    assert 8 < sized(found) < 8 + 1000
