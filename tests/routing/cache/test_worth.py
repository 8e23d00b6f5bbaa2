"""A cache that costs more than it saves goes off by itself, and tries again later."""

from __future__ import annotations

from routing.cache.worth import AGAIN, FIRST, LONGEST, WINDOW, Worth


def window(worth: Worth, now: float, seconds: float, questions: int = WINDOW) -> None:
    for _ in range(questions):
        worth.looked(seconds, now)


def test_it_goes_off_after_a_window_without_gain() -> None:
    """And not before; after the pause it looks again, and each further window in vain doubles the pause."""
    worth, now = Worth(), 100.0
    for _ in range(WINDOW - 1):
        worth.looked(1e-6, now)
    assert worth.on(now)
    worth.looked(1e-6, now)
    pauses = []
    for _ in range(9):
        assert not worth.on(now)
        pauses.append(next(step for step in (10, 20, 40, 80, 160, 320, 600) if worth.on(now + step)))
        now += pauses[-1]
        window(worth, now, 1e-6, AGAIN - 1)
        assert worth.on(now)
        window(worth, now, 1e-6, 1)
    assert [10, 20, 40, 80, 160, 320, 600, 600, 600] == pauses
    assert (FIRST, LONGEST) == (pauses[0], pauses[-1])


def test_it_stays_on_while_hits_save_more() -> None:
    """One hit that saves a millisecond is worth a hundred looks of ten microseconds."""
    worth, now = Worth(), 0.0
    for step in range(3 * WINDOW):
        worth.looked(10e-6, now)
        if step % 90 == 0:
            worth.saved(1e-3)
    assert worth.on(now)
    for step in range(WINDOW):
        worth.looked(10e-6, now)
        if step % 110 == 0:
            worth.saved(1e-3)
    assert not worth.on(now)


def test_what_keeping_takes_counts_too() -> None:
    """Copies are a part of the cost; a window with a gain makes the next pause short again."""
    worth = Worth()
    worth.saved(1.0)
    worth.spent(1.1)
    window(worth, 0.0, 0.0)
    assert not worth.on(FIRST - 0.1)
    worth.saved(1.0)
    window(worth, FIRST, 0.0, AGAIN)
    assert worth.on(FIRST)
    window(worth, FIRST, 1e-9)
    assert (False, True) == (worth.on(2 * FIRST - 0.1), worth.on(2 * FIRST))
