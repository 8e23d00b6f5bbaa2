"""`penstock experiment`, as somebody types it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.cli import main
from gateway.experiment.counts import Counted, Counts
from gateway.experiment.journal import Stood
from gateway.experiment.report import report
from gateway.rollout.words import Order
from tests.gateway.cli.test_rollout import Admin, admin
from tests.gateway.experiment.test_experiments import GOOD, KEY, tables


def test_the_plan_says_units_days_and_the_price(capsys: pytest.CaptureFixture[str]) -> None:
    """For people in words, for programs as JSON; both of the same plan."""
    asked = ["experiment", "plan", "--rate", "3%", "--relative", "10%", "--per-day", "20000"]
    assert 0 == main(asked)
    told = capsys.readouterr().out
    assert 0 == main([*asked, "--json"])
    found = json.loads(capsys.readouterr().out)
    for number in (found["fixed"]["units"], found["anytime"]["units"]):
        assert f"{number:,}" in told
    assert f"{found['anytime']['days']:.1f}" in told
    assert f"price of peeking: {found['price']:.2f}" in told
    assert f"looked at {found['looks']} times" in told


@pytest.mark.parametrize("change", ["--relative=-10%", "--effect=-0.3%"])
def test_less_is_an_effect_too(change: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a rate, as a part of it or in points."""
    assert 0 == main(["experiment", "plan", "--rate", "3%", change])
    assert "to find 3 % → 2.7 % (-10 %)" in capsys.readouterr().out


def test_two_weeks_can_show_so_much(capsys: pytest.CaptureFixture[str]) -> None:
    """With days in place of an effect the effect is told; half of those who come take part."""
    assert 0 == main(["experiment", "plan", "--rate", "3%", "--days", "14", "--per-day", "20000", "--share", "50%", "--json"])
    assert 140_000 == json.loads(capsys.readouterr().out)["fixed"]["units"]


@pytest.mark.parametrize(
    "wrong",
    ["--rate 3%", "--rate 3% --effect 1% --units 5", "--mean 4 --effect 1", "--rate 3% --days 3", "--rate 3% --effect 3",
     "--rate 3% --mean 3 --deviation 1 --effect 1", "--rate 3% --effect 99%"],
)  # fmt: skip
def test_what_makes_no_sense_is_used_wrongly(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2, and a sentence."""
    assert 2 == main(["experiment", "plan", *wrong.split()])
    assert "penstock experiment plan: " in capsys.readouterr().err


def test_nothing_can_be_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1: the answer is no."""
    assert 1 == main(["experiment", "plan", "--rate", "3%", "--units", "2"])


def told() -> dict[str, Any]:
    """What a port tells of a test in which a quarter of the candidate's 400 requests buys."""
    (rolling,) = tables(GOOD)["digits"].rollouts
    counts = Counts(Counted("a/1", 0.5, 86_400.0), rolling.feedback, sticky=False)
    for number in range(800):
        stood = Stood((number % 2) * 0.5 + 0.1, 0.5)
        counts.asked(stood)
        if number % 8 == 0:
            counts.told(0, 1.0, stood)
    found: dict[str, Any] = json.loads(msgspec.json.encode(report(KEY, rolling, Order(*KEY, "d", "a/1", "running", 0.5), counts)))
    return found


def test_the_report_in_words_and_as_json(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """What is more, what is open, how many units, since when."""
    admin.content = told()
    where = ["--admin", f"http://127.0.0.1:{admin.server_port}"]
    assert 0 == main(["experiment", "report", "digits/dear", *where])
    text = capsys.readouterr().out
    assert "digits/dear  next at 50 %, running" in text
    assert "400 and 400 requests, each a unit, since 1970-01-02T00:00:00Z" in text
    assert "bought: MORE; 0.000% of 400 units, the candidate 25.000% of 400 units: +25.000 points (" in text
    assert "stars: too little is known" in text
    assert ("GET", "/api/experiments/digits/dear", None) == admin.asked[0]
    assert 0 == main(["experiment", "report", "digits/dear", "--json", *where])
    assert told() == json.loads(capsys.readouterr().out)


def test_no_reports(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a policy without, of a name that there is none of, of no name."""
    where = ["--admin", f"http://127.0.0.1:{admin.server_port}"]
    admin.content = {"experiments": []}
    assert 0 == main(["experiment", "report", *where])
    assert "docs/experiment.md" in capsys.readouterr().out
    admin.status, admin.content = 404, {"error": "there is none"}
    assert 1 == main(["experiment", "report", "digits/none", *where])
    assert 2 == main(["experiment", "report", "digits", *where])
    admin.status, admin.content = 403, {"error": "not yours"}
    assert 2 == main(["experiment", "report", *where])


__all__ = ["admin"]
