"""When a breaker lets attempts in, and that it is never stuck."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from backends.breaker import TRANSITIONS, Breaker, Event, State
from backends.rules import Ejection

EJECTION = Ejection(failures=3, open=5.0)


def opened() -> Breaker:
    """One that opened at 0."""
    breaker = Breaker(EJECTION)
    for _ in range(3):
        breaker.ended(Event.FAILED, breaker.enter(0.0), 0.0)
    return breaker


def test_opens_after_failures_one_after_the_other() -> None:
    """An answer in between starts the count anew; who left says nothing."""
    breaker = Breaker(EJECTION)
    for event in (Event.FAILED, Event.FAILED, Event.OK, Event.FAILED, Event.ABANDONED, Event.FAILED):
        breaker.ended(event, False, 0.0)
        assert State.CLOSED is breaker.state
    breaker.ended(Event.FAILED, False, 0.0)
    assert State.OPEN is breaker.state


def test_nobody_is_let_in_while_open() -> None:
    """Until its time is over."""
    breaker = opened()
    assert [False, False, True] == [breaker.admits(now) for now in (0.0, 4.99, 5.0)]


def test_one_probe_at_a_time() -> None:
    """Half-open, the next attempt waits for the probe's ending."""
    breaker = opened()
    assert breaker.enter(5.0)
    assert not breaker.admits(100.0)


@pytest.mark.parametrize(
    ("event", "state", "admits"),
    [(Event.OK, State.CLOSED, True), (Event.FAILED, State.OPEN, False), (Event.ABANDONED, State.HALF_OPEN, True)],
)
def test_three_endings_of_a_probe(event: Event, state: State, admits: bool) -> None:
    """Well again, left alone again, or its permit is given back."""
    breaker = opened()
    breaker.ended(event, breaker.enter(5.0), 6.0)
    assert (state, admits) == (breaker.state, breaker.admits(10.9))
    assert breaker.admits(11.0)


@pytest.mark.parametrize("event", [Event.OK, Event.FAILED, Event.ABANDONED])
def test_late_endings_say_nothing(event: Event) -> None:
    """An attempt that was let in before it opened neither closes it nor prolongs its time, nor takes the probe's place."""
    breaker = opened()
    breaker.ended(event, False, 4.0)
    assert breaker.enter(5.0)
    breaker.ended(event, False, 5.0)
    assert (State.HALF_OPEN, False) == (breaker.state, breaker.admits(5.0))


def test_a_check_ends_the_wait() -> None:
    """Whoever was found well gets its probe at once; a closed one is left as it is."""
    breaker = opened()
    breaker.rested(1.0)
    assert (True, State.HALF_OPEN) == (breaker.admits(1.0), breaker.state)
    closed = Breaker(EJECTION)
    closed.rested(1.0)
    assert closed.untouched


def test_the_table_is_whole() -> None:
    """Every state can be left, and every state is led to."""
    assert set(State) == {state for state, _ in TRANSITIONS} == set(TRANSITIONS.values())


class Attempts(RuleBasedStateMachine):
    """Attempts that begin, end in three ways or are never heard of for long, as time passes."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(EJECTION)
        self.now = 0.0
        self.probes = 0

    @rule(seconds=st.floats(0, 7))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=under_way)
    def begin(self) -> bool | None:
        if not self.breaker.admits(self.now):
            return None
        probe = self.breaker.enter(self.now)
        self.probes += probe
        return probe

    @rule(probe=consumes(under_way), event=st.sampled_from([Event.OK, Event.FAILED, Event.ABANDONED]))
    def end(self, probe: bool | None, event: Event) -> None:
        if probe is not None:
            self.breaker.ended(event, probe, self.now)
            self.probes -= probe

    @rule()
    def check_passes(self) -> None:
        self.breaker.rested(self.now)

    @invariant()
    def one_probe(self) -> None:
        assert self.probes in (0, 1)
        assert bool(self.probes) == self.breaker.probing
        assert not self.probes or self.breaker.state is State.HALF_OPEN

    @invariant()
    def never_stuck(self) -> None:
        """Without a probe under way it lets somebody in once its time is over."""
        assert self.probes or self.breaker.admits(self.now + EJECTION.open)


TestAttempts = Attempts.TestCase
TestAttempts.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
