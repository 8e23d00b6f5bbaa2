"""The comparison believes nothing that it cannot compute offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest

from gateway.demo.client import Question, Reply
from gateway.demo.comparison import Measured, alone, conclusion, offline_cascade, together
from gateway.demo.expect import WrongError
from gateway.demo.setting import Setting
from tests.gateway.demo.stage import reply


@dataclass
class Stand:
    """A setting whose gateway answers from a list, row by row."""

    setting: Setting
    replies: Sequence[Reply]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.setting, name)

    def at_once(self, questions: Sequence[Question], clients: int) -> Sequence[Reply]:
        return self.replies


def answers(*rows: tuple[str, int, float]) -> list[Reply]:
    """(variant, label, cost) of each row."""
    made = [(reply(x_penstock_variant=variant, x_penstock_cost=str(cost)), label) for variant, label, cost in rows]
    return [replace(found, outputs={"label": np.array([[label]])}, seconds=0.002) for found, label in made]


RIGHT = (("fast", 1, 1), ("accurate", 2, 41), ("fast", 9, 1), ("accurate", 4, 41))


@pytest.fixture
def stand(setting: Callable[..., Setting]) -> Callable[..., Any]:
    """Makes one of its rows."""
    return lambda *rows: cast(Any, Stand(setting(lambda _: reply()), answers(*rows)))


def test_a_cascade_as_computed_offline_is_measured(stand: Callable[..., Any]) -> None:
    """Accuracy, cost, rows by variant and times."""
    found = together(stand(*RIGHT))
    assert Measured("cascade", 0.75, 21_000, {"fast": 2, "accurate": 2}, 0.002, 0.002) == found


def test_a_variant_alone_is_measured(stand: Callable[..., Any]) -> None:
    """Every row its own."""
    found = alone(stand(*(("accurate", label, 40) for label in (1, 2, 3, 4))), "accurate")
    assert (1.0, 40_000, {"accurate": 4}) == (found.accuracy, found.cost_per_1000, found.rows)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("fast", 2, 1), r"rows by variant(?s:.*)'accurate': 2(?s:.*)'fast': 3"),
        (("accurate", 7, 41), r"label is not the one computed offline(?s:.*)\[1\]"),
        (("accurate", 2, 40), r"a cost of 84(?s:.*)83"),
    ],
)
def test_one_row_that_is_not_as_computed_is_wrong(stand: Callable[..., Any], row: tuple[str, int, float], told: str) -> None:
    """Another variant, another label or another cost."""
    with pytest.raises(WrongError, match=told):
        together(stand(RIGHT[0], row, *RIGHT[2:]))


def test_a_request_that_fails_is_wrong(stand: Callable[..., Any]) -> None:
    """Its status and text are shown."""
    broken = stand(*RIGHT)
    broken.replies[1] = replace(reply(503), error="not now")
    with pytest.raises(WrongError, match="503 not now"):
        together(broken)


def test_a_cascade_that_saves_nothing_is_wrong(stand: Callable[..., Any]) -> None:
    """And one that does is told in a sentence."""
    dear, cheap = (Measured(name, 0.9, cost, {}, 0, 0) for name, cost in (("always dear", 40.0), ("cascade", 10.0)))
    assert "costs 75% less than always dear, for no less accuracy" in conclusion(stand(*RIGHT), [dear, cheap])
    with pytest.raises(WrongError, match="cheaper than cascade"):
        conclusion(stand(*RIGHT), [cheap, dear])


def test_the_policys_own_thresholds_count(setting: Callable[..., Setting]) -> None:
    """What the engineer edits is what is computed."""
    assert [0, 1, 0, 1] == offline_cascade(setting(lambda _: reply())).stage.tolist()
