"""What is said of a candidate, in which order of weight."""

from __future__ import annotations

import math

import pytest

from routing.rollout.betting import Evidence, Labels, Metric
from routing.rollout.verdict import Verdict, said, verdict

METRICS = (Metric("error-rate"), Metric("latency", "latency"))
SEEN: Labels = (950, 50)
QUIET = Evidence((0.0,), 0.0, SEEN, (9, 1))


def fortune(odds: float, left: float | None = None) -> Evidence:
    """So much odds for the rollout of two metrics, of which so much is left."""
    return Evidence((math.log(2 * (odds if left is None else left)),), math.log(2 * odds), SEEN, (20, 30))


def judged(
    errors: Evidence = QUIET, latency: Evidence = QUIET, drawn: Labels = SEEN, samples: tuple[int, int] = (50, 50)
) -> Verdict:
    return verdict(METRICS, {"error-rate": errors, "latency": latency}, {0.05: drawn}, 0.01, samples)


def test_nothing_is_wrong() -> None:
    """Traffic on both sides, every metric there, no evidence."""
    assert "healthy" == judged().word


def test_enough_evidence_takes_it_back() -> None:
    """At 1/alpha, with the numbers in words; also when it was reached before and is gone, or little else is known."""
    found = judged(fortune(101))
    assert "harmful" == found.word
    assert (
        "odds of 101 against the candidate, 100 suffice; "
        "error-rate: 30 of 50 events are the candidate's, which had 5.00% of the requests" == found.text
    )
    assert "harmful" == judged(fortune(101, 1)).word
    assert "harmful" == judged(fortune(101), samples=(3, 50)).word
    assert "warned" == judged(fortune(99)).word


def test_a_tenth_of_it_warns_as_long_as_it_stands() -> None:
    """At 1/(10 alpha); when it is gone it is forgotten."""
    assert "warned" == judged(fortune(11)).word
    assert "healthy" == judged(fortune(9)).word
    found = judged(fortune(50, 0.5))
    assert "healthy" == found.word
    assert [50, 0.5] == pytest.approx([found.reached, found.now])


def test_no_traffic_says_nothing() -> None:
    """Neither green nor red: not without any request, nor without enough of the candidate's, nor with one side's alone."""
    assert "insufficient" == verdict(METRICS, {}, {}, 0.01, (0, 0)).word
    assert "insufficient" == judged(samples=(49, 50)).word
    assert "insufficient" == judged(QUIET, Evidence(looked=(60, 0)), (60, 2)).word


def test_a_metric_that_never_reports_is_a_defect() -> None:
    """Where the requests were there to report from, on either side."""
    found = judged(QUIET, Evidence(), (1900, 100))
    assert ("unmeasured", "never reported: latency") == (found.word, found.text)
    assert "unmeasured" == judged(Evidence(looked=(950, 0)), QUIET, (1900, 100)).word
    assert "unmeasured" == judged(Evidence(looked=(0, 50))).word


def test_a_mismatch_stands_above_all() -> None:
    """Where the shares are not those that were drawn, not even harm is believed."""
    found = judged(fortune(1000), drawn=(1950, 50))
    assert ("mismatch", "the candidate did not get the share that was drawn: 50 of 2000 where 5.000% were to be") == (
        found.word,
        found.text,
    )


def test_each_kind_says_what_it_counted() -> None:
    """Events of a share, slow answers of latency, the candidate's alone of a ceiling."""
    evidence = Evidence(looked=(900, 100), happened=(8, 2))
    assert (
        "latency: 2 of 10 answers beyond the stable side's 95 % point are the candidate's, which had 10.00% of the requests"
        == said(METRICS[1], evidence)
    )
    assert "d: 2 of 100 of the candidate's, 1.000% are tolerated" == said(Metric("d", "ceiling", most=0.01), evidence)
