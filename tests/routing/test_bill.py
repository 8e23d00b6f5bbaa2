"""Tests of routing.bill: what one question may cost and has cost."""

from __future__ import annotations

from routing.bill import Bill


def test_it_is_settled_once_when_the_last_ask_has_ended() -> None:
    """Whoever asks may leave before."""
    heard: list[tuple[float, int]] = []
    bill = Bill(settle=lambda paid, raised: heard.append((paid, raised)))
    bill.asked()
    bill.asked()
    bill.close()
    bill.pay(1.0)
    assert [] == heard
    bill.pay(2.5)
    bill.close()
    assert [(3.5, 0)] == heard


def test_rows_go_up_as_long_as_there_is_room() -> None:
    """For what that costs at most, whatever it will have cost; and for the rows."""
    bill = Bill(12.0, first=2.0, rows=5)
    asked = [(6, 1.0), (1, 10.1), (4, 6.0), (1, 4.1), (2, 1.0), (1, 4.0)]
    assert [False, False, True, False, False, True] == [bill.allows(*each) for each in asked]
    assert 5 == bill.raised


def test_what_was_held_and_not_paid_is_free_when_nobody_is_asked() -> None:
    """What was paid is not."""
    bill = Bill(10.0, first=6.0)
    assert not bill.allows(1, 5.0)
    bill.asked()
    bill.pay(1.0)
    assert [False, True] == [bill.allows(1, 5.0), bill.allows(1, 3.0)]
    bill.idle()
    assert [False, True] == [bill.allows(1, 9.1), bill.allows(1, 9.0)]
