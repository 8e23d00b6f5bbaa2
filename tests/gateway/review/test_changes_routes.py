"""What differs between the routes of a model, in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.review.changes_routes import _moved, route_changes
from tests.gateway.review.recorded import POLICY, document

HEAD = POLICY[: POLICY.index("    routes:")] + "    routes:\n"
GOLD = "{name: gold, match: {tier: gold}, use: accurate}"
BULK = "{name: bulk, match: {rows: 9..}, use: balanced}"
SPLIT = "{name: trial, match: {tenant: acme}, split: {fast: 90, accurate: 10}, unit: tenant}"
CASCADE = (
    "{name: climb, match: {tier: a}, cascade: {confidence: {output: p, metric: margin}, "
    "stages: [{use: fast, accept: 0.9}, {use: accurate}]}}"
)
MAPS = "calibration: {maps: {other: [[0, 0.1], [1, 0.95]]}}"
LAST = "{name: default, use: fast}"


def told(old: list[str], new: list[str]) -> list[tuple[str, str]]:
    """The changes, by where under `models.digits.routes` they are."""
    models = [document(HEAD + "".join(f"      - {route}\n" for route in routes)).models["digits"] for routes in (old, new)]
    found = route_changes(("models", "digits"), models[0], models[1])
    return [(change.path.removeprefix("models.digits.routes."), change.text) for change in found]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ([LAST], [LAST], []),
        ([LAST], [GOLD, LAST], [("gold", "route 'gold' is new, before 'default': tier gold → use accurate")]),
        ([GOLD, LAST], [LAST], [("gold", "route 'gold' goes: it took tier gold")]),
        ([GOLD, BULK, LAST], [BULK, GOLD, LAST], [("bulk", "route 'bulk' moves: it stands before 'gold' now")]),
        ([GOLD, LAST], [GOLD.replace("name: gold", "name: best"), LAST], [("best", "route 'gold' is called 'best' now")]),
        ([GOLD, LAST], [GOLD.replace("tier: gold", "tier: [gold, a]"), LAST], [("gold.match", "tier gold → tier a or gold")]),
        ([GOLD, LAST], [GOLD.replace("use: accurate", "use: fast"), LAST], [("gold.use", "use accurate → use fast")]),
        ([GOLD, LAST], [GOLD.replace("use: ", "timeout: 90ms, use: "), LAST], [("gold.timeout", "2s → 90ms")]),
        (
            [GOLD, LAST],
            [GOLD.replace("use: ", "sample: 5%, use: "), LAST],
            [("gold.sample", "0 % → 5 % of its requests are recorded")],
        ),
        (
            [SPLIT, LAST],
            [SPLIT.replace("90", "80").replace("accurate: 10", "accurate: 20"), LAST],
            [("trial.split", "fast 90, accurate 10 → fast 80, accurate 20: of its tenants move 10 % from fast to accurate")],
        ),
        (
            [SPLIT, LAST],
            [SPLIT.replace("90", "180").replace("accurate: 10", "accurate: 20"), LAST],
            [("trial.split", "fast 90, accurate 10 → fast 180, accurate 20: nobody moves")],
        ),
        (
            [SPLIT, LAST],
            [SPLIT.replace("unit: tenant", "unit: subject"), LAST],
            [("trial.unit", "by tenant → by subject: every unit is dealt anew")],
        ),
        ([CASCADE, LAST], [CASCADE.replace("0.9", "0.8"), LAST], [("climb.cascade", "fast keeps rows from 0.9 → 0.8")]),
        (
            [CASCADE, LAST],
            [CASCADE.replace("margin", "entropy"), LAST],
            [("climb.cascade", "confidence: margin of p → entropy of p")],
        ),
        (
            [CASCADE, LAST],
            [CASCADE.replace("margin", "margin, logits: true"), LAST],
            [("climb.cascade", "confidence: margin of p → margin of the softmax of p")],
        ),
        (
            [CASCADE, LAST],
            [CASCADE.replace("margin", "min-logprob, path: 'l[*]'").replace("0.9", "-1"), LAST],
            [
                ("climb.cascade", "confidence: margin of p → min-logprob of $.l[*] in p"),
                ("climb.cascade", "fast keeps rows from 0.9 → -1"),
            ],
        ),
        (
            [CASCADE, LAST],
            [CASCADE.replace("margin", f"margin, {MAPS}"), LAST],
            [("climb.cascade", "what the scores of fast are worth: as they are → 1 maps, 2 knots (4055ad72)")],
        ),
        (
            [CASCADE.replace("margin", f"margin, {MAPS}"), LAST],
            [CASCADE.replace("0.9}", f"0.9, {MAPS.replace('0.95', '0.96')}}}"), LAST],
            [("climb.cascade", "what the scores of fast are worth: 1 maps, 2 knots (4055ad72) → 1 maps, 2 knots (e833bcc2)")],
        ),
        (
            [CASCADE, LAST],
            [CASCADE.replace("stages:", "speculate: 60%, stages:"), LAST],
            [("climb.cascade", "it asks ahead never → where 60 % of the rows are expected to go up")],
        ),
        (
            [CASCADE, LAST],
            [CASCADE.replace("{use: accurate}", "{use: balanced}"), LAST],
            [("climb.cascade", "it was fast (accept 0.9) → accurate; it is fast (accept 0.9) → balanced")],
        ),
        (
            [GOLD, LAST],
            [GOLD.replace("use: accurate", "split: {fast: 1, accurate: 3}"), LAST],
            [("gold.use", "use accurate → split fast 1, accurate 3 by request")],
        ),
    ],
)
def test_in_words(old: list[str], new: list[str], wanted: list[tuple[str, str]]) -> None:
    """Routes that come, go, move or are renamed; conditions, actions, weights with who moves, thresholds, times, samples."""
    assert wanted == told(old, new)


def test_a_renamed_split_deals_anew() -> None:
    """Whose side a unit is on hangs on the route's name."""
    ((_, text),) = told([SPLIT, LAST], [SPLIT.replace("name: trial", "name: canary"), LAST])
    assert text.startswith("route 'trial' is called 'canary' now; its split deals every unit anew")


@given(st.permutations(list("abcdefg")))
def test_as_few_as_possible_are_said_to_move(now: list[str]) -> None:
    """The others stand in their old order, and no longer such sequence is left."""
    was = list("abcdefg")
    moved = _moved(was, now)
    rest = [name for name in now if name not in moved]
    assert sorted(rest) == rest
    longest = max(
        sum(1 for index in range(7) if mask >> index & 1)
        for mask in range(128)
        if (kept := [name for index, name in enumerate(now) if mask >> index & 1]) == sorted(kept)
    )
    assert longest == len(rest)
