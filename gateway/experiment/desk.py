"""Takes in what clients tell of their requests, in one process, until whoever keeps the A/B tests asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from backends.errors import ErrorKind, InferenceError, invalid
from gateway.experiment.words import Asked, Gathered, Given, Noted, owner
from routing.principal import FEEDBACK, Principal
from routing.rollout.feedback import Value

MOST_BYTES = 64 << 10  # of a body
MOST_ITEMS = 1000  # of a body
MOST_EACH = 5_000  # of an owner's that wait for a round, which comes twice a second
MOST = 20_000  # of all
LONGEST = 128  # characters of an id, a metric, a label


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something told of one request."""

    request: str
    metric: str
    value: Value = True


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several of them."""

    feedback: list[Item]


_one, _several = msgspec.json.Decoder(Item), msgspec.json.Decoder(Body)
Lanes = Callable[[], Iterable[tuple[str, list[Asked], int]]]
"""What the rollouts' lanes have noted since they were last asked: an attempt, its requests, and how many found no room."""


class Desk:
    """One process's."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._given: list[Given] = []
        self._each: Counter[str] = Counter()

    def take(self) -> Gathered:
        """All since the last time. Of the requests first: what is told of one comes after its answer."""
        lanes = list(self._lanes())
        given, self._given = self._given, []
        self._each.clear()
        return Gathered([Noted(attempt, asked) for attempt, asked, _ in lanes if asked], given, sum(lost for *_, lost in lanes))

    async def alone(self) -> list[Gathered]:
        """The same, of a gateway that is this process alone."""
        return [self.take()]

    def give(self, principal: Principal, body: bytes) -> int:
        """Takes in one item or several; how many. Raises FORBIDDEN, TOO_LARGE, INVALID and OVERLOADED."""
        if FEEDBACK not in principal.scopes:
            message = f"this credential may not give feedback; it needs scope '{FEEDBACK}'"
            raise InferenceError(ErrorKind.FORBIDDEN, message, source="client")
        if len(body) > MOST_BYTES:
            message = f"feedback has {MOST_BYTES >> 10} KiB at most: send it in parts"
            raise InferenceError(ErrorKind.TOO_LARGE, message, source="client")
        items, whose = _read(body), owner(principal)
        if self._each[whose] + len(items) > MOST_EACH or len(self._given) + len(items) > MOST:
            raise InferenceError(ErrorKind.OVERLOADED, "too much feedback at once: send it again in a second", retry_after=1.0)
        self._each[whose] += len(items)
        self._given += [Given(whose, each.request, each.metric, each.value) for each in items]
        return len(items)


def _read(body: bytes) -> list[Item]:
    try:
        items = _several.decode(body).feedback if b'"feedback"' in body[:64] else [_one.decode(body)]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise invalid(
            f'{error}; send {{"request": "<X-Request-Id of the answer>", "metric": "…", "value": true}},'
            ' or {"feedback": [{…}, …]} of several',
            "feedback",
        ) from error
    if not 0 < len(items) <= MOST_ITEMS:
        raise invalid(f"one body has 1 to {MOST_ITEMS:,} of them", "feedback")
    if any(len(each.request) > LONGEST or len(each.metric) > LONGEST for each in items):
        raise invalid(f"ids and metrics have at most {LONGEST} characters", "feedback")
    if any(isinstance(each.value, str) and len(each.value) > LONGEST for each in items):
        raise invalid(f"a label has at most {LONGEST} characters", "feedback")
    return items
