"""Tests of policies.spending: tokens that an answer tells, however it lies about them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from backends.inference import InferenceResponse, RequestedOutput, Tensors
from backends.tensors import Tensor, from_array
from policies.call import Call
from policies.spending import Ended, more_tokens, spent, streamed, with_tokens, without_tokens
from routing.cost import Costs
from routing.plan import Target
from routing.price import MOST_TOKENS, Price

PRICE = Price(token=1.0, tokens="usage")
TARGET = Target("fast", "t", "f", price=PRICE)
Make = Callable[..., Call]


def response(*tensors: Tensor) -> InferenceResponse:
    """With these outputs."""
    return InferenceResponse("f", "1", "", {}, Tensors(tensors))


def usage(*counts: float, datatype: str = "FP64", numpy: str = "<f8") -> Tensor:
    """An output that tells tokens."""
    return Tensor("usage", datatype, (len(counts),), np.array(counts, numpy).tobytes())


def cost(costs: Costs, *tensors: Tensor, rows: int = 2) -> float:
    """Of an ask with this answer."""
    return spent(costs, "m", TARGET, rows, Ended("ok", response(*tensors), (), 0.0, 0.0)).own


def test_tokens_are_added_up() -> None:
    """Of all rows; an answer has as many as its output says."""
    assert 30.0 == cost(Costs(), usage(10, 20)) == cost(Costs(), usage(30, datatype="INT64", numpy="<i8"))


@pytest.mark.parametrize(
    "lie",
    [
        (),
        (usage(-1, 5),),
        (usage(float("nan"), 5),),
        (usage(float("inf")),),
        (Tensor("usage", "BYTES", (1,), b"\x01\x00\x00\x009"),),
        (usage(7, datatype="BF16", numpy="<u2"),),
    ],
)
def test_what_no_count_can_be_counts_as_usual(lie: tuple[Tensor, ...]) -> None:
    """Missing, negative, endless, or no number: neither nothing nor everything is paid."""
    costs = Costs()
    assert 0.0 == cost(costs, *lie)
    for _ in range(20):
        cost(costs, usage(10, 30))
    assert pytest.approx(40.0) == cost(costs, *lie)


def test_a_count_has_its_bound() -> None:
    """No backend spends anybody's budget with one number."""
    assert 2.0 * MOST_TOKENS == cost(Costs(), usage(1e300))
    huge = usage(2**64 - 1, datatype="UINT64", numpy="<u8")
    assert 2.0 * MOST_TOKENS == more_tokens(5.0, PRICE, 2, response(huge))


def test_a_stream_s_tokens_are_those_of_all_its_answers() -> None:
    """Where one of them does not say, as many as usual; of a broken stream nothing is paid, and of one that is let go what it has
    told."""
    costs, ended = Costs(), Ended("ok", None, (1.0,), 0.0, 2.0)
    tokens = more_tokens(more_tokens(0.0, PRICE, 1, response(usage(3))), PRICE, 1, response(usage(4)))
    assert 7.0 == tokens == streamed(costs, "m", TARGET, ended, (1, tokens))
    assert more_tokens(tokens, PRICE, 1, response()) is None
    assert more_tokens(None, PRICE, 1, response(usage(3))) is None
    assert 0.0 == more_tokens(0.0, None, 1, response(usage(3)))
    assert [7.0, 7.0, 0.0] == [
        streamed(costs, "m", TARGET, ended._replace(outcome=outcome), (1, 7.0)) for outcome in ("abandoned", "deadline", "broken")
    ]


def test_the_output_is_asked_for_and_taken_away_again(make_call: Make) -> None:
    """Only where the client names outputs and not this one."""
    request = make_call().request
    named = replace(request, outputs=(RequestedOutput("p"),))
    both = replace(request, outputs=(RequestedOutput("usage"), RequestedOutput("p")))
    assert ["p", "usage"] == [output.name for output in with_tokens(named, PRICE).outputs]
    answer = response(from_array("p", "FP32", np.zeros(1, np.float32)), usage(3))
    assert ["p"] == [tensor.name for tensor in without_tokens(answer, named, PRICE).payload.tensors()]
    for each in (request, both):
        assert with_tokens(each, PRICE) is each
        assert without_tokens(answer, each, PRICE) is answer
    assert with_tokens(named, Price(call=1.0)) is named
