"""Standing in for a target that fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Call
from policies.fallback import FAILURES, FallbackPolicy

Make = Callable[..., Call]
Reply = Callable[[Call, dict[str, list[float]]], Answer]


def asking(reply: Reply, failing: dict[str, ErrorKind]) -> tuple[Callable[[Call], object], list[str]]:
    asked: list[str] = []

    async def ask(call: Call) -> Answer:
        assert call.target is not None
        asked.append(call.target.variant)
        if call.target.variant in failing:
            raise InferenceError(failing[call.target.variant], f"{call.target.variant} failed")
        return reply(call, {call.target.variant: [0.5]})

    return ask, asked


def targeted(call: Call) -> Call:
    return replace(call, target=call.plan.stages[0].target)


@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_only_failures_fall_back(make_call: Make, make_answer: Reply, observer: object, kind: ErrorKind) -> None:
    """Outages are stood in for; a client's mistake or a passed deadline is not."""
    ask, asked = asking(make_answer, {"dear": kind})
    call = targeted(make_call(1, (("dear", None),), {"dear": "mid"}))
    if kind in FAILURES:
        answer = await FallbackPolicy(observer, lambda: 5.0)(call, ask)  # type: ignore[arg-type]
        assert answer.shares[0].variant == "mid"
        assert observer.lines == [("fell_back", "digits", "dear", "mid")]  # type: ignore[attr-defined]
    else:
        with pytest.raises(InferenceError):
            await FallbackPolicy(observer, lambda: 5.0)(call, ask)  # type: ignore[arg-type]
        assert asked == ["dear"]


@pytest.mark.parametrize(("own", "at", "variant"), [(2.0, 5.1, "mid"), (2.0, 5.0, ""), (None, 5.1, "")])
async def test_an_own_timeout_falls_back(
    make_call: Make, make_answer: Reply, observer: object, own: float | None, at: float, variant: str
) -> None:
    """A target that took all of its own time is stood in for while the call has some left; else nobody waits any more."""
    ask, asked = asking(make_answer, {"dear": ErrorKind.DEADLINE})
    call = make_call(1, (("dear", None),), {"dear": "mid"}, at)
    call = replace(call, target=replace(call.plan.stages[0].target, timeout=own))
    if variant:
        answer = await FallbackPolicy(observer, lambda: 5.0)(call, ask)  # type: ignore[arg-type]
        assert variant == answer.shares[0].variant
    else:
        with pytest.raises(InferenceError, match="dear failed"):
            await FallbackPolicy(observer, lambda: 5.0)(call, ask)  # type: ignore[arg-type]
        assert ["dear"] == asked


async def test_chain_ends_with_the_first_cause(make_call: Make, make_answer: Reply, observer: object) -> None:
    """When the fallbacks fail too, the client hears why the first one did."""
    ask, asked = asking(make_answer, dict.fromkeys(("dear", "mid", "fast"), ErrorKind.BROKEN))
    call = targeted(make_call(1, (("dear", None),), {"dear": "mid", "mid": "fast"}))
    with pytest.raises(InferenceError, match="dear failed"):
        await FallbackPolicy(observer, lambda: 5.0)(call, ask)  # type: ignore[arg-type]
    assert asked == ["dear", "mid", "fast"]


async def test_a_fallback_that_is_late_is_late(make_call: Make, make_answer: Reply, observer: object) -> None:
    """Whatever failed before, the client hears that time is up."""
    ask, asked = asking(make_answer, {"dear": ErrorKind.BROKEN, "mid": ErrorKind.DEADLINE})
    call = targeted(make_call(1, (("dear", None),), {"dear": "mid", "mid": "fast"}))
    with pytest.raises(InferenceError, match="mid failed"):
        await FallbackPolicy(observer, lambda: 5.0)(call, ask)  # type: ignore[arg-type]
    assert ["dear", "mid"] == asked


async def test_without_fallback_nothing_is_added(make_call: Make, make_answer: Reply, observer: object) -> None:
    """A plan without fallbacks is one ask."""
    ask, asked = asking(make_answer, {"fast": ErrorKind.BROKEN})
    with pytest.raises(InferenceError):
        await FallbackPolicy(observer, lambda: 5.0)(targeted(make_call()), ask)  # type: ignore[arg-type]
    assert asked == ["fast"]
