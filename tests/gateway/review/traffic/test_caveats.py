"""What a replay could not know, said."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from gateway.review.traffic.caveats import about_log, about_replay, tally_text
from gateway.review.traffic.log import Tally
from gateway.review.traffic.replay import Replay


def test_what_was_read() -> None:
    """How many samples, how many requests they stand for, and when they were recorded."""
    tally = Tally()
    assert "0 recorded requests from 1 file" == tally_text(tally, 0.0, 1)
    tally.samples, tally.begin, tally.end = 1200, 0.0, 86400.0
    assert "1,200 recorded requests from 2 files, 1970-01-01 00:00 to 1970-01-02 00:00 UTC" == tally_text(tally, 1200.0, 2)
    assert "1,200 recorded requests from 2 files, standing for 120,000, " in tally_text(tally, 120_000.0, 2)


def test_what_is_missing_from_a_log() -> None:
    """Damaged lines with the first of them, and what the gateway could not write; nothing where nothing is missing."""
    tally = Tally()
    assert [] == list(about_log(tally))
    tally.spoilt(Path("a.jsonl"), 7)
    tally.spoilt(Path("a.jsonl"), 9)
    tally.dropped = 1
    assert [
        "2 lines could not be read and are left out; the first is a.jsonl:7",
        "the gateway could not write 1 sample when it recorded this log",
    ] == list(about_log(tally))


def test_what_samples_do_not_say() -> None:
    """Each thing that the policy looks at, splits that were drawn, versions that only a backend knew, limits."""
    replay = Replay({}, {})
    assert [] == list(about_replay(replay, "NEW"))
    replay.blind, replay.drawn, replay.guessed, replay.limited = Counter({"header x-a": 2}), 1, 3, 4
    assert [
        "2 samples do not say 'header x-a', which NEW looks at and the policy in force did not: "
        "judged as if the request had none",
        "1 sample does not say where its unit stands in a split of NEW: the shares of the sides are right, who gets which is not",
        "3 samples name a version of the latest n: which those were, only the backend knew",
        "4 samples were refused by limits, and are judged by NEW as if let through: limits are not tried",
    ] == list(about_replay(replay, "NEW"))
