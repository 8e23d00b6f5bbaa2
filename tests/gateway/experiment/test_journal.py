"""Which request stood where: for a day, within bounds, once for each metric."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.experiment.journal import KEPT, Journal, Stood
from gateway.experiment.words import Asked

NAMES = st.sampled_from([f"r{number}" for number in range(8)])


def asked(*names: str) -> list[Asked]:
    return [Asked(name, "t/acme", (1 + int(name[1:])) / 100, 0.5) for name in names]


def tell(journal: Journal, name: str, bit: int = 0, now: float = 0.0) -> object:
    return journal.tell("a", (name, "t/acme"), bit, now)


def test_a_request_is_found_by_its_id_owner_and_attempt() -> None:
    """And by nothing less."""
    journal = Journal()
    journal.note("a", asked("r1"), 0.0)
    assert "unknown" == journal.tell("b", ("r1", "t/acme"), 0, 0.0)
    assert "unknown" == journal.tell("a", ("r1", "t/bigco"), 0, 0.0)
    assert Stood(0.02, 0.5) == tell(journal, "r1")


@given(st.lists(st.tuples(st.booleans(), NAMES, st.integers(0, 2)), max_size=60), st.integers(1, 4))
def test_what_was_noted_is_told_once(steps: list[tuple[bool, str, int]], size: int) -> None:
    """As a dictionary of sets would say it, however small the tables are."""
    journal, known, told = Journal(smallest=size, largest=size), set[str](), set[tuple[str, int]]()
    for note, name, bit in steps:
        if note:
            if name not in known:  # a client that uses an id twice
                journal.note("a", asked(name), 0.0)
            known.add(name)
            continue
        found = tell(journal, name, bit)
        wanted: object = "unknown" if name not in known else "duplicate" if (name, bit) in told else asked(name)[0].place
        assert wanted == (found.place if isinstance(found, Stood) else found)
        if name in known:
            told.add((name, bit))
    assert len(known) == len(journal)


def test_a_day_later_it_is_expired() -> None:
    """To the second; what came later is not."""
    journal = Journal(smallest=2, largest=2)
    journal.note("a", asked("r1", "r2"), 0.0)
    journal.note("a", asked("r3", "r4"), 10.0)
    assert "expired" == tell(journal, "r1", now=KEPT + 1)
    assert Stood(0.04, 0.5) == tell(journal, "r3", now=KEPT + 1)


def test_the_oldest_go_when_it_is_full() -> None:
    """As many as there may be, and no more."""
    journal = Journal(tables=3, smallest=2, largest=2)
    journal.note("a", asked(*(f"r{number}" for number in range(7))), 0.0)
    assert 5 == len(journal)
    assert ["unknown", "unknown"] == [tell(journal, name) for name in ("r0", "r1")]
    assert all(isinstance(tell(journal, f"r{number}"), Stood) for number in range(2, 7))


def test_a_request_in_a_slow_hour_expires_too() -> None:
    """The young ones are put away in time, though they are few."""
    journal = Journal()
    journal.note("a", asked("r1"), 0.0)
    journal.note("a", asked("r2"), KEPT / 20)
    assert "expired" == tell(journal, "r1", now=KEPT * 1.03)
    assert isinstance(tell(journal, "r2", now=KEPT * 1.03), Stood)


def test_a_slow_gateway_keeps_its_day() -> None:
    """A table an hour, with hardly anything in each, does not push out what is younger than a day."""
    journal = Journal(tables=3)
    for hour in range(23):
        journal.note("a", asked(f"r{hour}"), hour * 3_700.0)
    assert isinstance(tell(journal, "r0", now=23 * 3_700.0), Stood)
