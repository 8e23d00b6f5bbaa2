"""Whether a candidate may have weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import pytest

from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest
from backends.signature import Input, Signature
from gateway.rollout.fit import TIMES, fitness, misfit, zeros
from tests.gateway.conftest import Described

if TYPE_CHECKING:
    from tests.gateway.conftest import Fake

TAKES = Signature({"x": Input("FP32", (-1, 2))}, 4, ("y", "z"))


class Asked(Described):
    """A backend whose models answer, but for those that are told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: set[str] = set()
        self.questions: list[InferenceRequest] = []

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> None:
        self.questions.append(request)
        if request.model in self.fails:
            raise InferenceError(ErrorKind.BROKEN, "no")


async def found(fake: Fake, asked: Asked) -> tuple[str, str]:
    clusters = cast("Mapping[str, Cluster]", {"triton": asked})
    return await fitness(clusters, fake.dear, fake.fast)


async def test_fit(fake: Fake) -> None:
    """It is ready, takes the same, and has answered."""
    asked = Asked()
    assert ("fit", "") == await found(fake, asked)
    assert ["b_fast"] * TIMES == [each.model for each in asked.questions]


@pytest.mark.parametrize(
    ("fails", "fitness_", "text"),
    [({"b_fast"}, "unfit", "fast fails where dear answers"), ({"b_fast", "b_dear"}, "fit", "neither side")],
)
async def test_a_question_that_fails(fake: Fake, fails: set[str], fitness_: str, text: str) -> None:
    """Says something only where the stable side answers it."""
    asked = Asked()
    asked.fails = fails
    word, said = await found(fake, asked)
    assert fitness_ == word
    assert text in said


async def test_not_there_yet(fake: Fake) -> None:
    """Is waited for: not ready, or not to be asked."""
    asked = Asked()
    asked.known.remove("b_fast")
    assert "waiting" == (await found(fake, asked))[0]
    asked.failure = InferenceError(ErrorKind.UNAVAILABLE, "gone")
    assert "waiting" == (await found(fake, asked))[0]


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (TAKES, ""),
        (Signature({"x": Input("FP32", (-1, -1))}, 8, ("y", "z", "more")), ""),
        (Signature({"x": Input("FP32", (-1, 2)), "o": Input("FP32", (1,), True)}, 4, ("y", "z")), ""),
        (Signature({"q": Input("FP32", (-1, 2))}, 4, ("y", "z")), "it has no input 'x'"),
        (Signature({"x": Input("FP16", (-1, 2))}, 4, ("y", "z")), "FP16"),
        (Signature({"x": Input("FP32", (-1, 3))}, 4, ("y", "z")), "[-1, 3]"),
        (Signature({"x": Input("FP32", (-1, 2)), "o": Input("FP32", (1,))}, 4, ("y", "z")), "it also wants input 'o'"),
        (Signature(TAKES.inputs, 4, ("y",)), "it has no output 'z'"),
        (Signature(TAKES.inputs, 2, ("y", "z")), "2 rows at most"),
    ],
)
def test_what_does_not_fit(candidate: Signature, why: str) -> None:
    """What the stable side takes or gives, the candidate must, too."""
    assert why in misfit(TAKES, candidate)
    assert bool(why) == bool(misfit(TAKES, candidate))


def test_zeros(fake: Fake) -> None:
    """One row, as many bytes as its datatype wants, nothing that may be left out."""
    inputs: dict[str, Any] = {
        "x": Input("FP32", (-1, 2)),
        "t": Input("BYTES", (-1,)),
        "h": Input("BF16", (3,)),
        "o": Input("BOOL", (1,), True),
    }
    request = zeros(Signature(inputs, 0), fake.fast)
    assert {"x": ((1, 2), 8), "t": ((1,), 4), "h": ((3,), 6)} == {
        tensor.name: (tensor.shape, len(tensor.data)) for tensor in request.payload.tensors()
    }
