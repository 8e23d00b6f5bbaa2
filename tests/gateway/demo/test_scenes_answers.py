"""Scenes about the cache and the shadow end where a stranger is given a kept answer, or where nobody was mirrored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.demo.client import Question, Reply
from gateway.demo.expect import WrongError
from gateway.demo.scenes_answers import KNOWN, kept, mirrored
from gateway.demo.setting import Setting
from tests.gateway.demo.stage import FakeGateway, reply

Make = Callable[..., Setting]


class Cache:
    """Answers as a gateway with a cache by rows would; `leaks`: to whoever asks."""

    def __init__(self, leaks: bool = False) -> None:
        self.leaks = leaks
        self.known: dict[tuple[str, ...], int] = {}

    def __call__(self, question: Question) -> Reply:
        whose = () if self.leaks else tuple(question.headers.values())
        rows = len(question.inputs["image"])
        found = min(rows, self.known.get(whose, 0))
        self.known[whose] = max(rows, found)
        status = "penstock; hit; ttl=599" if found == rows else "penstock; fwd=miss; stored"
        if 0 < found < rows:
            status = f'penstock; fwd=partial; stored; detail="{found} of {rows} rows"'
        said = reply(cache_status=status, x_penstock_cost=str((rows - found) * 40))
        return replace(said, outputs={"label": np.zeros(rows, np.int64)})


@pytest.fixture
def digits(setting: Make) -> Callable[..., Setting]:
    """As many digits as the scenes ask for."""

    def make(answer: Callable[[Question], Reply]) -> Setting:
        made = setting(answer)
        return replace(made, held_out=replace(made.held_out, images=np.zeros((240, 64), np.float32)))

    return make


def test_what_is_kept_passes(digits: Make) -> None:
    """By rows, for whoever asked it."""
    assert f"{KNOWN} digits, cost 1280" in kept(digits(Cache()))


def test_an_answer_given_to_another_tenant_is_wrong(digits: Make) -> None:
    """The one thing that a cache must not do."""
    with pytest.raises(WrongError, match=r"another tenant(?s:.*)miss(?s:.*)hit"):
        kept(digits(Cache(leaks=True)))


@pytest.mark.parametrize("verdict", ["different", "same"])
def test_a_shadow_is_believed_only_where_it_differs(digits: Make, verdict: str) -> None:
    """The two versions are known to."""
    report = {"verdict": "different", "mirrored": 40, "fields": [{"field": "probabilities", "verdict": verdict}]}
    gateway: Any = FakeGateway(apis={"/api/shadows/digits-reference/v2-dark": report})
    made = replace(digits(lambda _: reply(x_penstock_cost="40")), gateway=gateway)
    if verdict == "different":
        assert "40 of 200" in mirrored(made)
    else:
        with pytest.raises(WrongError, match="probabilities"):
            mirrored(made)
