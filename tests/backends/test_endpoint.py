"""What is known against an endpoint, and how it gets its weight back."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from backends.breaker import State
from backends.endpoint import AWAY, FIRST_WEIGHT, MODEL, MOST_MODELS, NONE, PLAIN, SERVER, SICK, SILENT, SLOW_START, Endpoint, Key
from backends.errors import ErrorKind
from backends.rules import Ejection

KEY, OTHER = ("m", ""), ("other", "1")
EJECTION = Ejection(failures=3, open=5.0)


def endpoint() -> Endpoint:
    return Endpoint("a:1", None, EJECTION)  # type: ignore[arg-type]


def failing(kind: ErrorKind, times: int = 3, key: Key = KEY) -> Endpoint:
    """One that has failed that often, at 0."""
    found = endpoint()
    for _ in range(times):
        found.failed(key, found.enter(key, 0.0), kind, 0.0)
    return found


def test_a_new_one_is_sound() -> None:
    """Nothing is known against it."""
    found = endpoint()
    assert (True, True, NONE, 1.0) == (found.sound, found.serves, found.doubt(KEY, 0.0), found.weight(0.0))


def test_a_drained_one_is_away_until_it_is_wanted_again() -> None:
    """Whatever else happens to it meanwhile; then it has its weight by and by, and nothing against it."""
    found = endpoint()
    found.drain(True, 0.0)
    found.answered(KEY, found.enter(KEY, 1.0), 1.0)
    found.seen(True, frozenset(), 1.0)
    assert (AWAY, False, True) == (found.doubt(KEY, 1.0), found.sound, found.serves)
    found.drain(False, 2.0)
    assert (NONE, FIRST_WEIGHT) == (found.doubt(KEY, 2.0), found.weight(2.0))
    found.enter(KEY, 2.0 + SLOW_START)
    assert found.sound


def test_what_operators_are_told() -> None:
    """The last failure that is the endpoint's own, its breaker, and each model's health."""
    found = failing(ErrorKind.BROKEN)
    found.seen(True, {OTHER}, 1.0)
    found.failed(KEY, PLAIN, ErrorKind.INVALID, 2.0)
    assert ("failing", "not-ready", "ok") == (found.health(KEY), found.health(OTHER), found.health(("third", "")))
    assert ((0.0, "broken"), State.CLOSED) == (found.last_failure, found.breaker)
    assert State.OPEN is failing(ErrorKind.UNAVAILABLE).breaker


@pytest.mark.parametrize("kind", [ErrorKind.BROKEN, ErrorKind.OVERLOADED])
def test_failures_count_against_the_model(kind: ErrorKind) -> None:
    """The endpoint's other models go on."""
    found = failing(kind)
    assert (SICK, NONE) == (found.doubt(KEY, 0.0), found.doubt(OTHER, 0.0))
    assert (False, True) == (found.sound, found.serves)


def test_who_cannot_be_reached_is_away() -> None:
    """For every model; after its time a probe is let in."""
    found = failing(ErrorKind.UNAVAILABLE)
    assert (AWAY, AWAY, NONE) == (found.doubt(KEY, 0.0), found.doubt(OTHER, 4.9), found.doubt(KEY, 5.0))
    assert not found.serves
    assert SERVER == found.enter(KEY, 5.0)
    assert AWAY == found.doubt(OTHER, 100.0)


@pytest.mark.parametrize("kind", [ErrorKind.INVALID, ErrorKind.NOT_FOUND, ErrorKind.TOO_LARGE, ErrorKind.DEADLINE])
def test_what_says_nothing_against_it(kind: ErrorKind) -> None:
    """A client's mistake is an answer; and time may have been too short."""
    assert failing(kind, 100).sound


def test_silence_has_two_witnesses() -> None:
    """Time that is up counts where the checks are not answered either: then it is away, and nobody waits for it."""
    found = endpoint()
    found.seen(False, frozenset(), 0.0)
    assert SILENT == found.doubt(KEY, 0.0)
    for _ in range(3):
        found.failed(KEY, found.enter(KEY, 0.0), ErrorKind.DEADLINE, 0.0)
    assert AWAY == found.doubt(KEY, 0.0)


def test_an_answer_starts_the_count_anew() -> None:
    """For the model and for the server; a sound one has nothing to forget."""
    found = failing(ErrorKind.BROKEN, 2)
    found.failed(KEY, PLAIN, ErrorKind.UNAVAILABLE, 0.0)
    found.answered(KEY, PLAIN, 0.0)
    assert found.sound


def test_a_model_that_is_not_ready() -> None:
    """Is asked elsewhere if it can be, from the check that finds it so to the one that finds it ready."""
    found = endpoint()
    found.seen(True, {KEY}, 0.0)
    assert (SICK, NONE, False) == (found.doubt(KEY, 0.0), found.doubt(OTHER, 0.0), found.sound)
    found.seen(True, frozenset(), 2.0)
    assert (NONE, False) == (found.doubt(KEY, 2.0), found.sound)


@pytest.mark.parametrize("kind", [ErrorKind.BROKEN, ErrorKind.UNAVAILABLE])
def test_what_the_next_question_is_not_to_be_lost_on(kind: ErrorKind) -> None:
    """A model that keeps failing, or a server that cannot be reached, until its time is over: then one may try. Checks are none
    of it: who does not answer those may answer."""
    found = failing(kind)
    assert (True, True, False) == (found.shut(KEY, 0.0), found.shut(KEY, 4.9), found.shut(KEY, 5.0))
    assert (kind is ErrorKind.UNAVAILABLE) == found.shut(OTHER, 0.0)
    found.enter(KEY, 5.0)
    assert found.shut(KEY, 5.0)  # somebody is trying
    silent = endpoint()
    silent.seen(False, frozenset(), 0.0)
    assert not silent.shut(KEY, 0.0)
    silent.drain(True, 0.0)
    assert silent.shut(KEY, 0.0)


def test_slow_start() -> None:
    """One that comes back gets its weight by and by, whichever way it comes."""
    found = endpoint()
    found.seen(False, frozenset(), 0.0)
    found.seen(True, frozenset(), 10.0)
    assert FIRST_WEIGHT == found.weight(10.0)
    assert pytest.approx(0.5) == found.weight(10.0 + SLOW_START / 2)
    assert 1.0 == found.weight(10.0 + SLOW_START)
    found.enter(KEY, 10.0 + SLOW_START)
    assert found.sound
    for kind, probe in ((ErrorKind.BROKEN, MODEL), (ErrorKind.UNAVAILABLE, SERVER)):
        ejected = failing(kind)
        assert probe == ejected.enter(KEY, 5.0)
        ejected.answered(KEY, probe, 6.0)
        assert (FIRST_WEIGHT, NONE) == (ejected.weight(6.0), ejected.doubt(KEY, 6.0))


def test_a_check_that_is_answered_brings_the_probe_forward() -> None:
    """A server that is there again is asked again, without waiting for the breaker's time."""
    found = failing(ErrorKind.UNAVAILABLE)
    found.seen(True, frozenset(), 1.0)
    assert NONE == found.doubt(KEY, 1.0)
    assert SERVER == found.enter(KEY, 1.0)


def test_models_are_bounded() -> None:
    """Clients may name versions: what is kept of them is not for them to decide."""
    found = endpoint()
    for number in range(MOST_MODELS + 10):
        found.failed(("m", str(number)), PLAIN, ErrorKind.BROKEN, 0.0)
    assert MOST_MODELS == len(found._models)


ENDINGS = st.sampled_from([None, "abandoned", *ErrorKind])


class Life(RuleBasedStateMachine):
    """Attempts at two models, in any order of beginning and ending, and checks in between."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = endpoint()
        self.now = 0.0
        self.open: list[tuple[Key, int]] = []

    @rule(seconds=st.floats(0, 7))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=under_way, key=st.sampled_from([KEY, OTHER]))
    def begin(self, key: Key) -> tuple[Key, int] | None:
        if self.endpoint.sound:
            attempt = (key, PLAIN)
        elif self.endpoint.doubt(key, self.now) == AWAY:
            return None
        else:
            attempt = (key, self.endpoint.enter(key, self.now))
        self.open.append(attempt)
        return attempt

    @rule(attempt=consumes(under_way), ending=ENDINGS)
    def end(self, attempt: tuple[Key, int] | None, ending: ErrorKind | str | None) -> None:
        if attempt is None:
            return
        self.open.remove(attempt)
        if ending is None:
            if not self.endpoint.sound:
                self.endpoint.answered(*attempt, self.now)
        elif isinstance(ending, ErrorKind):
            self.endpoint.failed(*attempt, ending, self.now)
        else:
            self.endpoint.abandoned(*attempt, self.now)

    @rule(up=st.booleans(), unready=st.frozensets(st.sampled_from([KEY, OTHER])))
    def check(self, up: bool, unready: frozenset[Key]) -> None:
        self.endpoint.seen(up, unready if up else frozenset(), self.now)

    @invariant()
    def permits_are_held_by_attempts(self) -> None:
        """A probe that nobody makes would keep everybody out for ever."""
        probes = [probe for _, probe in self.open]
        assert self.endpoint._server.probing == (1 == sum(bool(probe & SERVER) for probe in probes))
        for key in (KEY, OTHER):
            model = self.endpoint._models.get(key)
            held = sum(bool(probe & MODEL) for each, probe in self.open if each == key)
            assert (model is not None and model.probing) == (1 == held)

    def teardown(self) -> None:
        """Once everybody has left and all is well, it is sound again."""
        for attempt in self.open:
            self.endpoint.abandoned(*attempt, self.now)
        self.endpoint.seen(True, frozenset(), self.now)
        for key in (KEY, OTHER):
            self.now += EJECTION.open
            assert NONE == self.endpoint.doubt(key, self.now)
            self.endpoint.answered(key, self.endpoint.enter(key, self.now), self.now)
        self.endpoint.enter(KEY, self.now + SLOW_START)
        assert self.endpoint.sound


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
