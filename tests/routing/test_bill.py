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
    bill = Bill(room=10.0, rows=5)
    asked = [(6, 1.0), (1, 10.1), (4, 6.0), (1, 4.1), (2, 1.0), (1, 4.0)]
    assert [False, False, True, False, False, True] == [bill.allows(*each) for each in asked]
    assert 5 == bill.raised
