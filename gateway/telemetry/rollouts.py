"""The metrics of rollouts, which only whoever leads them counts: the weights of several processes must not be added up."""

from __future__ import annotations

from gateway.telemetry.series import Numbers

_LABELS = ("model", "rollout")


class FeedbackNumbers:
    """By what became of it."""

    def __init__(self) -> None:
        explanation = "what clients told of their requests later, by what became of it"
        self.family = Numbers("counter", "penstock_feedback_total", explanation, ("outcome",))

    def count(self, outcome: str, number: int = 1) -> None:
        """So many more."""
        if number:
            self.family.cell(outcome).value += number


class RolloutNumbers:
    """By model and stable variant."""

    def __init__(self) -> None:
        self._weight = Numbers("gauge", "penstock_rollout_weight", "the candidate's share of the units", _LABELS)
        explanation = "verdicts on the candidate, each counted when it is reached"
        self._verdicts = Numbers("counter", "penstock_rollout_verdicts_total", explanation, (*_LABELS, "verdict"))
        explanation = "when something last happened to it, in seconds since 1970: what, and why, with its numbers"
        self._notes = Numbers("gauge", "penstock_rollout_note", explanation, (*_LABELS, "what", "text"))
        self.feedback = FeedbackNumbers()

    def weight(self, model: str, rollout: str, weight: float) -> None:
        """The share from now on."""
        self._weight.cell(model, rollout).value = weight

    def verdict(self, model: str, rollout: str, verdict: str) -> None:
        """It is another than before."""
        self._verdicts.cell(model, rollout, verdict).value += 1

    def note(self, key: tuple[str, str], what: str, text: str, moment: float) -> None:
        """What happened last; a dashboard shows it as an annotation."""
        self._notes.cell(*key, what, text).value = moment

    def gone(self) -> None:
        """Rollouts may have gone: weights and notes are told anew."""
        self._weight.clear()
        self._notes.clear()

    def families(self) -> tuple[Numbers, ...]:
        """For an exposition."""
        return self._weight, self._verdicts, self._notes, self.feedback.family
