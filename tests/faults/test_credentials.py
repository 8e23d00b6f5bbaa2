"""What refusing a credential tells by the clock, and what a crowd of guesses costs those who have the right one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.errors import InferenceError
from gateway.auth.api_keys import ApiKeys, entry_of, new_key, with_pepper
from gateway.auth.attempts import FailedAttempts
from gateway.auth.authenticator import Authenticator
from gateway.cli.keys import as_yaml
from routing.principal import Principal
from tests.faults.figures import LONG, Figures

PART = "JWT and keys"
PEPPER = b"a pepper kept elsewhere"
ROUNDS = 2000 if LONG else 300
TRIES = 3
KEYS = {form: new_key() for form in ("with the pepper", "that the pepper was put into")}


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    """A key of each form that can stand beside another."""
    entries = [as_yaml(entry_of(KEYS["with the pepper"], Principal("a"), pepper=PEPPER))]
    plain = as_yaml(entry_of(KEYS["that the pepper was put into"], Principal("b")))
    path = tmp_path / "keys.yaml"
    path.write_text(plain)
    path.write_bytes("".join(entries).encode() + with_pepper(plain.encode(), "keys", PEPPER)[0])
    return ApiKeys(path, PEPPER)


def quickest(refuse: Callable[[str], None], credentials: list[str]) -> list[float]:
    """Seconds that refusing each takes at best; in turns, so that a busy moment of the machine meets all alike."""
    best = [1.0] * len(credentials)
    for _ in range(ROUNDS):
        for at, credential in enumerate(credentials):
            begin = time.perf_counter()
            for _ in range(5):
                refuse(credential)
            best[at] = min(best[at], (time.perf_counter() - begin) / 5)
    return best


@pytest.mark.timed
def test_the_clock_tells_no_key_id(keys: ApiKeys, figures: Figures) -> None:
    """An id that is not there and a wrong secret under one that is take the same time, in every form, throttled or not."""
    attempts = FailedAttempts()

    def refuse(credential: str) -> None:
        try:
            keys.verify(credential, time.time())
        except InferenceError as refusal:
            attempts.told(refusal, "10.0.0.1", credential.split("_")[1])

    wrong = [f"{key[:-8]}00000000" for key in KEYS.values()]
    seen = list[list[float]]()
    for _ in range(TRIES):  # on a machine that does other things too
        unknown, *known = quickest(refuse, [new_key(), *wrong])
        seen.append([max(seconds, unknown) / min(seconds, unknown) for seconds in known])
    for form, ratio in zip(KEYS, map(min, zip(*seen, strict=True)), strict=True):
        figures.at_most(PART, f"time of a wrong secret to that of an unknown id, key {form}", ratio, 1.15)


def test_guesses_cost_the_right_key_nothing(keys: ApiKeys, figures: Figures) -> None:
    """After thousands of guesses under its id and from its address, the key holds: seen before, and for the first time."""
    failed = 0
    for key in KEYS.values():
        for seen in (True, False):
            door = Authenticator(keys)
            if seen:
                door.check({"x-api-key": key}, time.time(), "10.0.0.1")
            for number in range(ROUNDS):
                with pytest.raises(InferenceError):
                    door.check({"x-api-key": f"{key[:-8]}{number:08d}"}, time.time(), "10.0.0.1")
            try:
                door.check({"x-api-key": key}, time.time(), "10.0.0.1")
            except InferenceError:
                failed += 1
    figures.none_of(PART, f"right keys refused after {ROUNDS} guesses at each", failed, 4)
