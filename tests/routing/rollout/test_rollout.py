"""The state machine of a rollout."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backends.errors import InferenceError
from routing.rollout.betting import Labels, Metric
from routing.rollout.rollout import (
    ASKING,
    TABLE,
    Happening,
    Rollout,
    State,
    Step,
    Terms,
    Verb,
    command,
    judge,
    memory,
    observe,
    tick,
    warmed,
)
from routing.rollout.tally import DRAWN, Batch, Count, Reveal

METRICS = (Metric("error-rate"), Metric("latency", "latency"))
STEPS = (Step(0.05, 3600, 100), Step(0.25, 3600, 100), Step(1.0))
TERMS = Terms(STEPS, METRICS, proof="time", sticky=False)


def running(terms: Terms = TERMS) -> Rollout:
    started = command(Rollout("digits", "accurate", "accurate-v2", terms), "start", "ann", 0.0)
    return warmed(started, 10.0)


def batch(errors: Labels, requests: Labels, weight: float = 0.05) -> Batch:
    """So many requests, all of ordinary latency, of which so many failed."""
    fine = requests[0] - errors[0], requests[1] - errors[1]
    counts = (
        Count(DRAWN, 0, weight, requests),
        Count(0, 0, weight, fine),
        Count(0, 1, weight, errors),
        Count(1, 2, weight, requests),
    )
    return Batch((requests, requests), counts)


def told(
    rollout: Rollout, errors: Labels = (0, 0), requests: Labels = (1900, 100), seconds: float = 3660.0, mirror: str = ""
) -> Rollout:
    """After so many seconds of ticks, with these requests."""
    rollout = observe(rollout, batch(errors, requests, rollout.weight), {})
    now = rollout.told or 10.0
    for _ in range(int(seconds / 60) + 1):
        rollout = tick(rollout, now, mirror)
        now += 60
    return rollout


def test_a_good_candidate_is_promoted_step_by_step() -> None:
    """Each step after its time and its requests, and the whole after the last."""
    rollout = running()
    assert ("running", 0.05) == (rollout.state, rollout.weight)
    assert 0.05 == told(rollout, seconds=3000).weight
    rollout = told(rollout)
    assert ("running", 0.25) == (rollout.state, rollout.weight)
    rollout = told(rollout, requests=(1500, 500))
    assert ("promoted", 1.0) == (rollout.state, rollout.weight)
    assert ["start", "ready", "advance", "finish"] == [note.what for note in rollout.notes]
    assert "held for 3600 s; odds of " in rollout.notes[-1].text


def test_a_bad_candidate_is_taken_back() -> None:
    """With what it failed in words, at once, and without anybody's help; also while it is paused or frozen."""
    for rollout in (running(), command(running(), "pause", "ann", 11.0)):
        rollout = told(rollout, (20, 30), seconds=0)
        assert ("rolled-back", 0.0) == (rollout.state, rollout.weight)
        assert "30 of 50 events are the candidate's, which had 5.00% of the requests" in rollout.notes[-1].text


def test_a_warning_ends_no_step_until_it_is_gone() -> None:
    """Frozen at its weight however long; good requests calm it down, and it goes on."""
    rollout = told(running(), (10, 5))
    assert ("frozen", 0.05) == (rollout.state, rollout.weight)
    rollout = told(rollout, (300, 10), (38_000, 2_000), seconds=0)
    assert "running" == rollout.state
    assert 0.25 == told(rollout).weight


def test_without_traffic_nothing_happens() -> None:
    """A day without requests is neither good nor bad."""
    rollout = told(running(), requests=(0, 0), seconds=86_400)
    assert ("running", 0.05) == (rollout.state, rollout.weight)


def test_a_step_waits_for_the_shadow() -> None:
    """Where the policy asks for the mirror, time alone promotes nothing, and neither does a difference."""
    rollout = told(running(Terms(STEPS, METRICS, sticky=False)))
    assert 0.05 == rollout.weight
    assert 0.05 == told(rollout, mirror="different").weight
    rollout = told(rollout, mirror="same")
    assert 0.25 == rollout.weight
    assert "the shadow found the answers the same" in rollout.notes[-1].text


def test_a_blue_green_rollout_is_one_step() -> None:
    """There is no stable side to compare with: after its time and its requests it is promoted, and the old side can be taken
    back to."""
    rollout = running(Terms((Step(1.0, 600, 100),), METRICS, proof="time"))
    assert ("running", 1.0) == (rollout.state, rollout.weight)
    rollout = told(rollout, requests=(0, 99), seconds=600)
    assert "running" == rollout.state
    rollout = told(rollout, requests=(0, 1), seconds=0)
    assert "promoted" == rollout.state
    assert "100 requests of the candidate's in this step, 100 are needed" in rollout.notes[-1].text
    assert 0.0 == command(rollout, "rollback", "ann", 5000.0).weight


def test_without_traffic_nothing_is_promoted_at_once() -> None:
    """Not in one step either, whether it wants samples or not; nor with a guard that never reported."""
    rollout = running(Terms((Step(1.0, 600),), METRICS, proof="time", sticky=False))
    assert "running" == told(rollout, requests=(0, 0), seconds=86_400).state
    blind = observe(rollout, Batch(((0, 500), (0, 0)), (Count(DRAWN, 0, 1.0, (0, 500)), Count(0, 0, 1.0, (0, 500)))), {})
    assert "unmeasured" == judge(blind).word
    assert "running" == told(blind, requests=(0, 0), seconds=86_400).state


def test_who_was_away_did_not_hold_a_step() -> None:
    """A gateway that slept for a day counts a minute; a clock that goes back counts nothing."""
    rollout = tick(tick(running(), 100.0), 86_500.0)
    assert 60 == rollout.held
    assert 60 == tick(rollout, 50.0).held


def test_a_person_decides() -> None:
    """Pause, resume, promote and roll back, each noted with who and why; what cannot be is refused and changes nothing."""
    rollout = command(running(), "pause", "ann", 20.0)
    assert ("paused", 0.05) == (rollout.state, rollout.weight)
    rollout = command(rollout, "resume", "ben", 30.0)
    rollout = command(rollout, "promote", "ben", 40.0, "the change is a comment")
    assert ("running", 0.25) == (rollout.state, rollout.weight)
    assert ("ben", 40.0, "the change is a comment") == (rollout.notes[-1].who, rollout.notes[-1].at, rollout.notes[-1].text)
    rollout = command(rollout, "rollback", "ann", 50.0)
    for verb in get_args(Verb):
        with pytest.raises(InferenceError, match=f"a rollout that is rolled-back cannot {verb}"):
            command(rollout, verb, "ann", 60.0)


def test_an_unfit_candidate_gets_no_weight() -> None:
    """Where it is not ready or has another signature; and who comes too late with his word changes nothing."""
    started = command(Rollout("digits", "accurate", "accurate-v2", TERMS), "start", "ann", 0.0)
    assert (0.0, 0.0) == (started.weight, warmed(started, 5.0, "its output 'label' is INT32, not INT64").weight)
    rolled = command(started, "rollback", "ann", 1.0)
    assert rolled == warmed(rolled, 5.0)


def test_a_sticky_unit_counts_once() -> None:
    """A hundred failures of one client are one, through restarts too; its failures at a larger weight are one more."""
    terms = Terms(STEPS, METRICS, proof="time")
    rollout = running(terms)
    seen = memory(rollout)
    reveal = Batch(((100, 0), (0, 0)), reveals=(Reveal(DRAWN, 0, 0.05, 0.1), *(Reveal(0, 1, 0.05, 0.1),) * 100))
    rollout = observe(rollout, reveal, seen)
    assert ((1, 0), (1, 0)) == (rollout.evidence["error-rate"].happened, rollout.drawn[0.05])
    seen = memory(rollout, {name: each.known for name, each in seen.items()})
    rollout = observe(rollout, reveal, seen)
    assert (1, 0) == rollout.evidence["error-rate"].happened
    rollout = observe(rollout, Batch(((0, 1), (0, 0)), reveals=(Reveal(0, 1, 0.25, 0.1),)), seen)
    assert (1, 1) == rollout.evidence["error-rate"].happened


def test_it_survives_a_kill() -> None:
    """As JSON and as msgpack it comes back the same, and goes on as if nothing had been."""
    rollout = told(running(), (5, 2), seconds=600)
    for form in (msgspec.json, msgspec.msgpack):
        again = form.decode(form.encode(rollout), type=Rollout)
        assert rollout == again
        assert told(rollout, (20, 30)) == told(again, (20, 30))


def test_versions_understand_one_another() -> None:
    """A field of a later version is left out, one that an older version does not write has its default."""
    stored: dict[str, Any] = msgspec.to_builtins(running())
    stored["mood"] = {"later": 1}
    stored["terms"]["colour"] = "blue"
    del stored["samples"], stored["evidence"], stored["terms"]["proof"]
    found = msgspec.convert(stored, Rollout)
    assert ("running", 0, {}, "mirror") == (found.state, found.samples, found.evidence, found.terms.proof)


def test_the_table_is_whole() -> None:
    """Every state has its line, every happening leads somewhere, and none leads out of a rollback."""
    assert set(get_args(State)) == set(TABLE)
    assert set(get_args(Happening)) == {happening for line in TABLE.values() for happening in line}
    assert {} == TABLE["rolled-back"]
    assert all("rollback" in line for state, line in TABLE.items() if state != "rolled-back")


class Anything(RuleBasedStateMachine):
    """Whatever people, traffic and time do."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout = Rollout("m", "s", "c", TERMS)
        self.now = 0.0
        self.weights = [0.0]

    def became(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.weights.append(rollout.weight)

    @rule(verb=st.sampled_from(get_args(Verb)))
    def say(self, verb: Verb) -> None:
        try:
            self.became(command(self.rollout, verb, "ann", self.now))
        except InferenceError:
            pass

    @rule(unfit=st.sampled_from(["", "", "", "not ready"]))
    def warm(self, unfit: str) -> None:
        self.became(warmed(self.rollout, self.now, unfit))

    @rule(stable=st.integers(0, 30), candidate=st.integers(0, 30), requests=st.integers(60, 4000))
    def count(self, stable: int, candidate: int, requests: int) -> None:
        if self.rollout.state in ASKING:
            sides = requests * 19 // 20, requests // 20 + 30
            self.became(observe(self.rollout, batch((stable, candidate), sides, self.rollout.weight), {}))

    @rule(seconds=st.floats(-10, 7200))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.became(tick(self.rollout, self.now))

    @rule()
    def restart(self) -> None:
        self.became(msgspec.json.decode(msgspec.json.encode(self.rollout), type=Rollout))

    @invariant()
    def weights_only_grow_and_then_end(self) -> None:
        """They grow step by step until they are 0 for ever."""
        last = self.weights[-1]
        assert (0.0 < last) == (self.rollout.state in (*ASKING, "promoted"))
        assert last == 0 or self.weights == sorted(self.weights)
        if self.rollout.state == "rolled-back":
            assert 0 == last


Anything.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_anything = Anything.TestCase


def test_what_is_measured_beside_the_requests_are_no_samples() -> None:
    """Feedback and comparisons are evidence, and no requests of the candidate's."""
    terms = Terms(STEPS, (Metric("error-rate"), Metric("thumbs-down", beside=True)), proof="time", sticky=False)
    found = observe(running(terms), Batch(((10, 2), (50, 40)), (Count(1, 1, 0.05, (50, 40)),)), {})
    assert (2, (50, 40)) == (found.samples, found.evidence["thumbs-down"].looked)
