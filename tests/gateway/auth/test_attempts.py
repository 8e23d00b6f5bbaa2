"""How failed attempts are throttled."""

from __future__ import annotations

import pytest

from backends.errors import ErrorKind, InferenceError
from gateway.auth.attempts import BURST, INTERVAL, LOG_SECONDS, FailedAttempts
from gateway.auth.refusals import refused

BAD = refused("the API key is not valid", "bad-api-key")
HERE, THERE = "10.0.0.1", "10.0.0.2"


class Now:
    """A clock that moves when told."""

    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def now() -> Now:
    """The time."""
    return Now()


@pytest.fixture
def attempts(now: Now) -> FailedAttempts:
    """Nobody has failed yet."""
    return FailedAttempts(now)


def told(attempts: FailedAttempts, count: int, peer: str = HERE, key_id: str = "") -> int:
    """Fails so many times; how often that was said as it is."""
    return sum(attempts.told(BAD, peer, key_id) is BAD for _ in range(count))


def test_an_address_is_told_a_few_failures_and_then_one_a_second(attempts: FailedAttempts, now: Now) -> None:
    """What exceeds that is a 429 that says when to come back, and what would help."""
    assert BURST == told(attempts, 1000)
    refusal = attempts.told(BAD, HERE)
    assert (ErrorKind.LIMITED, "client", "failed-attempts") == (refusal.kind, refusal.source, refusal.reason)
    assert refusal.retry_after is not None
    assert 0 < refusal.retry_after <= INTERVAL
    assert "correct the credential" in str(refusal)
    now.time += 10 * INTERVAL
    assert 10 == told(attempts, 1000)
    assert BURST == told(attempts, 1000, THERE)


def test_a_key_id_is_told_alike_from_wherever(attempts: FailedAttempts) -> None:
    """Many addresses that guess at one key share its allowance; another id at such an address has its own."""
    assert BURST == sum(told(attempts, 1, f"10.0.1.{number}", "abcd") for number in range(100))
    assert 1 == told(attempts, 1, "10.0.1.0", "efgh")


@pytest.mark.parametrize("reason", ["expired-token", "expired-api-key", "foreign-audience", "unknown-key", "no-credential"])
def test_what_befalls_honest_clients_is_always_told(reason: str, attempts: FailedAttempts) -> None:
    """A client whose token has expired must hear that, whatever others do at its address; nor does it count."""
    told(attempts, 1000)
    refusal = refused("something", reason)
    assert refusal is attempts.told(refusal, HERE)
    assert all(attempts.told(refusal, THERE) is refusal for _ in range(1000))
    assert BURST == told(attempts, 1000, THERE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1:5000", True),
        ("10.0.0.1:4000", "10.0.0.1:5000", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "[2001:db8::2]:5000", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "[fe80::2%eth0]:1", True),
        ("no:address:at:all", "10.0.0.1", False),
    ],
)
def test_an_address_is_one_whatever_its_port(one: str, other: str, same: bool, attempts: FailedAttempts) -> None:
    """IPv6 counts by /64, of which every host has 2^64 addresses; HTTP tells no port, gRPC does."""
    told(attempts, 1000, one)
    assert (0 if same else BURST) == told(attempts, 1000, other)


def test_what_is_remembered_is_bounded(now: Now) -> None:
    """The longest unused is forgotten, so that whoever is at it is not."""
    attempts = FailedAttempts(now, size=10)
    told(attempts, BURST)
    for number in range(1000):
        assert not told(attempts, 1)
        told(attempts, 1, f"10.0.{number // 256}.{number % 256 + 2}", f"id{number}")
    assert 20 == len(attempts)


def test_the_log_says_it_once_a_minute(attempts: FailedAttempts, now: Now, caplog: pytest.LogCaptureFixture) -> None:
    """With the key id, which is public and tells whose client it may be, or else the address."""
    for _ in range(3):
        told(attempts, 100, key_id="abcd")
        told(attempts, 100, THERE)
    assert ["with key id abcd" in line for line in caplog.messages] == [True]
    now.time += LOG_SECONDS
    told(attempts, 1000, THERE)
    assert f"with address {THERE};" in caplog.messages[1]


def test_a_429_holds_no_credential(attempts: FailedAttempts) -> None:
    """Nor does it say whether the id is one that exists."""
    told(attempts, 1000, key_id="abcd")
    refusals: list[InferenceError] = [attempts.told(BAD, HERE, key_id) for key_id in ("abcd", "efgh", "")]
    assert 1 == len({str(each) for each in refusals})
    assert "abcd" not in str(refusals[0])
