"""`penstock experiment`, as somebody types it."""

from __future__ import annotations

import json

import pytest

from gateway.cli import main


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
