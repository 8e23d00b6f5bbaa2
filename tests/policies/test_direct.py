"""Questions that are asked at once: for whom, until when, counted and told as the onion would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import pytest
from msgspec.structs import replace

from backends.deadline import RESERVE, Deadline
from backends.inference import InferenceRequest
from policies.call import Call, Counted
from policies.direct import Around, Direct, Toll, direct
from policies.keeping import Off
from routing.cache.worth import FIRST, WINDOW, Worth
from routing.demand import Verdict
from routing.plan import Stage, Target
from routing.price import Price
from tests.policies.conftest import TARGETS, Written

Make = Callable[..., Call]
VERDICT = Verdict(None, 0.0, 41, 1.2, 0)


class Cluster:
    """Has a place, as long as `free`; writes down what it is asked for. Is what it begins, too."""

    def __init__(self) -> None:
        self.free = True
        self.forms: list[InferenceRequest] = []
        self.lines: list[str] = []
        self.deadline = Deadline(0.0)
        self.ended = False
        self.formless = False

    def form(self, request: InferenceRequest) -> Any:
        self.forms.append(request)
        return None if self.formless else self

    def begin(self, form: Any, deadline: Deadline, now: float, told: Callable[[], None]) -> Any:
        assert form is self
        assert 100.0 == now
        self.deadline = deadline
        return self if self.free else None

    def send(self, id: bytes, tensors: bytes) -> None:
        self.lines.append(f"sent {id.decode()} {tensors.decode()}")

    def release(self) -> None:
        self.lines.append("released")

    def finish(self) -> float:
        self.lines.append("finished")
        return 0.5

    def abandon(self) -> float:
        self.lines.append("abandoned")
        return 0.25


class Paid:
    """A limit with room for so many."""

    counted: tuple[Counted, ...] = (Counted("free", "requests", 200, 2),)
    weighed = False

    def __init__(self, room: int) -> None:
        self.room = room

    def pay(self) -> Verdict | None:
        self.room -= 1
        return VERDICT if self.room >= 0 else None


def made(call: Call, cluster: Cluster, observer: Written, toll: Toll | Literal[False] | None = None) -> Direct | None:
    around = Around(observer, lambda: 100.0)
    return direct({"triton": cast(Any, cluster)}, around, lambda _: toll, call)


def call_of(make_call: Make, target: Target = TARGETS["mid"], **changes: Any) -> Call:
    """One that came at 10 and has 5 seconds."""
    call = make_call(rows=3)
    plan = replace(call.plan, stages=(Stage(target, None),))
    return replace(call, plan=plan, received=10.0, deadline=Deadline(15.0), **changes)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_it_is_the_target_that_is_asked(make_call: Make, cluster: Cluster, observer: Written) -> None:
    """By the backend's name for it, on behalf of the principal's tenant or else itself."""
    call = call_of(make_call, replace(TARGETS["mid"], version="7"))
    assert made(call, cluster, observer) is not None
    assert made(replace(call, principal=replace(call.principal, tenant="acme")), cluster, observer) is not None
    assert [("b_mid", "7", "ann"), ("b_mid", "7", "acme")] == [(each.model, each.version, each.unit) for each in cluster.forms]


def test_whoever_is_looked_at_closer(make_call: Make, cluster: Cluster, observer: Written) -> None:
    """A price, a version that the client names, a rollout's side, a limit that cannot say at once, an answer of another form."""
    assert made(call_of(make_call, replace(TARGETS["mid"], price=Price(call=1.0))), cluster, observer) is None
    call = call_of(make_call)
    assert made(replace(call, request=replace(call.request, version="2")), cluster, observer) is None
    assert made(replace(call, drawn=(cast(Any, object()),)), cluster, observer) is None
    assert made(call, cluster, observer, False) is None
    assert not cluster.forms
    cluster.formless = True
    assert made(call, cluster, observer) is None


@pytest.mark.parametrize(("own", "at"), [(None, 103.0 - RESERVE), (1.0, 101.0), (60.0, 103.0 - RESERVE)])
def test_until_when(make_call: Make, cluster: Cluster, observer: Written, own: float | None, at: float) -> None:
    """As long as the request has from its first byte, less the way back, or as the target is given."""
    asking = made(call_of(make_call, replace(TARGETS["mid"], timeout=own)), cluster, observer)
    assert asking is not None
    asking.begin(b"i", b"t", 98.0, print)
    assert pytest.approx(at, abs=1e-6) == cluster.deadline.at
    asking.begin(b"i", b"t", 80.0, print)
    assert 85.0 == cluster.deadline.at  # time is up


def test_what_is_told(make_call: Make, cluster: Cluster, observer: Written) -> None:
    """Each row is paid for, whether anybody waited for the answer or not."""
    asking = made(call_of(make_call), cluster, observer)
    assert asking is not None
    started = asking.begin(b"id", b"tensors", 99.0, print)
    assert started is not None
    assert started[1] is None
    assert 0.5 == asking.finish(started[0])
    asking.abandon(started[0])
    assert ["sent id tensors", "finished", "abandoned"] == cluster.lines
    assert [("asked", "digits", "mid", 3, "ok"), ("asked", "digits", "mid", 3, "abandoned")] == observer.lines
    assert 36.0 == observer.cost
    cluster.ended = True
    asking.abandon(started[0])
    assert 2 == len(observer.lines)


def test_what_a_limit_allows(make_call: Make, cluster: Cluster, observer: Written) -> None:
    """It is paid once there is a place, and the place is given back where it cannot be."""
    paid = Paid(1)
    asking = made(call_of(make_call), cluster, observer, paid)
    assert asking is not None
    cluster.free = False
    assert asking.begin(b"id", b"tensors", 99.0, print) is None
    assert 1 == paid.room
    cluster.free = True
    started = asking.begin(b"id", b"tensors", 99.0, print)
    assert started is not None
    assert started[1] is VERDICT
    assert asking.begin(b"id", b"tensors", 99.0, print) is None
    assert ["sent id tensors", "released"] == cluster.lines


def test_what_a_cache_does_not_look_up(make_call: Make, cluster: Cluster, observer: Written) -> None:
    """Is asked while that is so, and counted when it is answered, not when nobody waited for it."""
    asking, worth, told = made(call_of(make_call), cluster, observer), Worth(), list[tuple[str, str]]()
    assert asking is not None
    asking.past = Off("digits", worth, lambda *said: told.append(said))
    assert not asking.past.stands(100.0)
    for _ in range(WINDOW):
        worth.looked(1.0, 100.0 - FIRST / 2)
    assert asking.past.stands(100.0)
    for ends in (asking.abandon, asking.finish):
        started = asking.begin(b"id", b"tensors", 99.0, print)
        assert started is not None
        ends(started[0])
    assert [("digits", "off")] == told


def test_a_defect_holds_nothing(make_call: Make, cluster: Cluster, observer: Written) -> None:
    """Whatever raises between a place and the question on its way gives it back."""

    class Broken(Paid):
        def pay(self) -> Verdict | None:
            raise ValueError("a defect")

    asking = made(call_of(make_call), cluster, observer, Broken(1))
    assert asking is not None
    with pytest.raises(ValueError, match="a defect"):
        asking.begin(b"id", b"tensors", 99.0, print)
    assert ["abandoned"] == cluster.lines
