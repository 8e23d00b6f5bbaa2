"""The metrics of rollouts."""

from __future__ import annotations

from gateway.telemetry.rollouts import RolloutNumbers


def lines(numbers: RolloutNumbers) -> list[str]:
    return [line for family in numbers.families() for line in family.lines() if not line.startswith("#")]


def test_weight_and_verdicts() -> None:
    """The weight is what it is now and goes with its rollout; verdicts add up."""
    numbers = RolloutNumbers()
    numbers.weight("digits", "live", 0.05)
    numbers.verdict("digits", "live", "harmful")
    numbers.verdict("digits", "live", "harmful")
    numbers.note(("digits", "live"), "harm", 'odds of "120"', 1234.5)
    weight, verdict, note = lines(numbers)
    assert 'penstock_rollout_note{model="digits",rollout="live",what="harm",text="odds of \\"120\\""} 1234.5' == note
    assert weight.startswith('penstock_rollout_weight{model="digits",rollout="live"} 0.05')
    assert verdict.startswith('penstock_rollout_verdicts_total{model="digits",rollout="live",verdict="harmful"} 2')
    numbers.gone()
    assert [verdict] == lines(numbers)
