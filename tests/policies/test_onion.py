"""The order of the layers, and the core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse, Tensors
from policies.call import Answer, Ask, Call, Policy
from policies.onion import ORDER, core, effective, onion
from routing.bill import Bill
from routing.cache.caching import Caching
from routing.price import Price

Make = Callable[..., Call]


def test_the_order_is_fixed() -> None:
    """Each has its reason (policies/onion.py), in whatever order they are given."""
    assert ORDER == (
        "deadline",
        "authorize",
        "limit",
        "cache",
        "budget",
        "coalesce",
        "shadow",
        "audit",
        "cascade",
        "fallback",
        "rollout",
    )


def test_layers_that_do_anything_to_a_plan(make_call: Make) -> None:
    """The deadline and the permission always; a cascade of several stages; a fallback that the plan knows."""
    stages = (("fast", 0.9), ("dear", None))
    assert ("deadline", "authorize") == effective(make_call().plan)
    assert ("deadline", "authorize", "fallback") == effective(make_call(fallback={"fast": "dear"}).plan)
    assert ("deadline", "authorize", "cascade") == effective(make_call(stages=stages).plan)
    cached = replace(make_call().plan, cache=Caching(1.0, b""))
    assert ("deadline", "authorize", "cache", "coalesce") == effective(cached)


async def test_layers_run_outermost_first(make_call: Make) -> None:
    """Every place is passed in ORDER, and the way back is the reverse."""
    passed: list[str] = []

    def layer(name: str) -> Policy:
        async def policy(call: Call, ask: Ask) -> Answer:
            passed.append(name)
            answer = await ask(call)
            passed.append(f"/{name}")
            return answer

        return policy

    async def innermost(call: Call) -> Answer:
        passed.append("core")
        return Answer(InferenceResponse("", "", "", {}, Tensors(())), (), 0, 0)

    await onion({name: layer(name) for name in sorted(ORDER)}, innermost)(make_call())
    assert passed == [*ORDER, "core", *(f"/{name}" for name in reversed(ORDER))]


def test_a_layer_without_a_place_is_refused() -> None:
    """A misspelt layer would silently not protect anything."""
    with pytest.raises(ValueError, match="authorise"):
        onion({"authorise": None}, None)  # type: ignore[dict-item, arg-type]


class Answering:
    """A backend with one thing to say."""

    def __init__(self, outcome: InferenceResponse | BaseException) -> None:
        self.outcome = outcome
        self.asked: list[InferenceRequest] = []
        self.deadlines: list[float] = []

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        self.asked.append(request)
        self.deadlines.append(deadline.at)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def ask_core(backend: Answering, observer: Any) -> Ask:
    moments = iter([1.0, 1.5])
    return core({"triton": backend}, observer, lambda: next(moments))  # type: ignore[dict-item]


async def test_the_core_asks_by_the_backends_own_name(make_call: Make, observer: Any) -> None:
    """The public name is replaced by the target's, time and price are counted."""
    backend = Answering(InferenceResponse("b_fast", "3", "", {}, Tensors(())))
    call = make_call(4)
    answer = await ask_core(backend, observer)(replace(call, target=call.plan.stages[0].target))
    assert backend.asked[0].model == "b_fast"
    assert (answer.cost, answer.backend_seconds) == (4, 0.5)
    assert (answer.shares[0].variant, answer.shares[0].rows, answer.shares[0].version) == ("fast", 4, "3")
    assert observer.lines == [("asked", "digits", "fast", 4, "ok")]


@pytest.mark.parametrize(("own", "at"), [(None, 8.99), (2.0, 3.0), (20.0, 8.99)])
async def test_a_target_s_own_timeout(make_call: Make, observer: Any, own: float | None, at: float) -> None:
    """It counts from this ask on, and never lengthens the call's deadline, of which every ask leaves something over."""
    backend = Answering(InferenceResponse("b_fast", "3", "", {}, Tensors(())))
    call = make_call(at=9.0)
    await ask_core(backend, observer)(replace(call, target=replace(call.plan.stages[0].target, timeout=own)))
    assert [at] == backend.deadlines


@pytest.mark.parametrize(
    ("outcome", "told"),
    [(InferenceError(ErrorKind.BROKEN, "x"), "broken"), (asyncio.CancelledError(), "abandoned")],
)
async def test_each_ending_is_told(make_call: Make, observer: Any, outcome: BaseException, told: str) -> None:
    """Failed and abandoned asks are counted as such."""
    call = make_call()
    with pytest.raises(type(outcome)):
        await ask_core(Answering(outcome), observer)(replace(call, target=call.plan.stages[0].target))
    assert observer.lines == [("asked", "digits", "fast", 1, told)]


@pytest.mark.parametrize(("version", "kind"), [("", ErrorKind.UNAVAILABLE), ("7", ErrorKind.NOT_FOUND)])
async def test_a_model_the_backend_lacks(make_call: Make, observer: Any, version: str, kind: ErrorKind) -> None:
    """It is our outage, unless the client asked for that very version."""
    call = make_call()
    call = replace(call, request=replace(call.request, version=version), target=call.plan.stages[0].target)
    with pytest.raises(InferenceError) as caught:
        await ask_core(Answering(InferenceError(ErrorKind.NOT_FOUND, "b_fast is unknown")), observer)(call)
    assert caught.value.kind is kind


class Sending(Answering):
    """A backend that notes attempts as a cluster does."""

    def __init__(self, outcome: InferenceResponse | BaseException, *sent: float) -> None:
        super().__init__(outcome)
        self.sent = sent

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        assert request.sent is not None
        request.sent.extend(self.sent)
        return await super().infer(request, deadline)


PRICED = Price(call=10.0, gpu_ms=0.1)
LATE = InferenceError(ErrorKind.DEADLINE, "late")


@pytest.mark.parametrize(
    ("outcome", "sent", "own", "whole"),
    [
        (InferenceResponse("f", "1", "", {}, Tensors(())), (1.1,), 52.0, 52.0),  # answered after 400 ms
        (InferenceResponse("f", "1", "", {}, Tensors(())), (1.1, 1.4), 22.0, 74.0),  # a hedge, and its loser
        (asyncio.CancelledError(), (1.1,), 52.0, 52.0),  # its client has left, the backend works
        (LATE, (1.1,), 52.0, 52.0),  # nobody waits for it any more
        (asyncio.CancelledError(), (), 0.0, 0.0),  # its client has left the queue
        (InferenceError(ErrorKind.BROKEN, "x"), (), 0.0, 0.0),
        (InferenceError(ErrorKind.BROKEN, "x"), (1.4,), 0.0, 22.0),  # it failed while another attempt was under way
    ],
)
async def test_who_pays_for_what(
    make_call: Make, observer: Any, outcome: Any, sent: tuple[float, ...], own: float, whole: float
) -> None:
    """What a backend has had in hand is paid, but for what it refused; attempts beside are counted, and on nobody's bill."""
    bills: list[tuple[float, int]] = []
    bill = Bill(settle=lambda paid, rows: bills.append((paid, rows)))
    call = make_call(2)
    target = replace(call.plan.stages[0].target, price=PRICED)
    paid = 0.0
    try:
        paid = (await ask_core(Sending(outcome, *sent), observer)(replace(call, target=target, bill=bill))).cost
    except InferenceError as error:
        paid = error.cost
    except asyncio.CancelledError:
        paid = own
    bill.close()
    assert [own, own, whole] == pytest.approx([paid, bills[0][0], observer.cost])
