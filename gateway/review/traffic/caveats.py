"""What a replay of recorded traffic could not know, in words: every figure above it is to be read with these."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.review.traffic.log import Tally
from gateway.review.traffic.replay import Replay
from gateway.review.words import counted


def tally_text(tally: Tally, requests: float, files: int) -> str:
    """What was read, in a line."""
    count = counted(tally.samples, "recorded request") + f" from {counted(files, 'file')}"
    if not tally.samples:
        return count
    standing = f", standing for {requests:,.0f}" if round(requests) != tally.samples else ""
    begin, end = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") for at in (tally.begin, tally.end))
    return f"{count}{standing}, {begin} to {end} UTC"


def about_log(tally: Tally) -> Iterator[str]:
    """What is missing from the log."""
    if tally.damaged:
        lines = "line could" if tally.damaged == 1 else "lines could"
        yield f"{tally.damaged} {lines} not be read and are left out; the first is {tally.where}"
    if tally.dropped:
        yield f"the gateway could not write {counted(tally.dropped, 'sample')} when it recorded this log"


def about_replay(replay: Replay, whose: str) -> Iterator[str]:
    """What the samples do not say that the policy would have looked at. `whose` policy: `NEW`."""
    for what, count in sorted(replay.blind.items()):
        yield (
            f"{_do(count)} not say '{what}', which {whose} looks at and the policy in force did not: "
            "judged as if the request had none"
        )
    if replay.drawn:
        their = "its unit stands" if replay.drawn == 1 else "their units stand"
        yield (
            f"{_do(replay.drawn)} not say where {their} in a split of {whose}: "
            "the shares of the sides are right, who gets which is not"
        )
    if replay.guessed:
        name = "names" if replay.guessed == 1 else "name"
        yield f"{counted(replay.guessed, 'sample')} {name} a version of the latest n: which those were, only the backend knew"
    if replay.limited:
        was = "was refused by a limit, and is" if replay.limited == 1 else "were refused by limits, and are"
        yield f"{counted(replay.limited, 'sample')} {was} judged by {whose} as if let through: limits are not tried"


def _do(count: int) -> str:
    return f"{counted(count, 'sample')} {'does' if count == 1 else 'do'}"
