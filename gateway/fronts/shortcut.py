"""Answers a question that is the same in everything its last hit was decided by, at once: only what may have changed is asked."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from backends.signature import Signature
from gateway.dataplane import Dataplane
from gateway.dialects.reply import told_again
from gateway.edge.messages import Again, HttpResponse
from gateway.fronts.exchange import Exchange
from gateway.snapshot import PASSING, Snapshot
from policies.call import Afar, Answer, Call, Still
from routing.plan import Target

OPEN = True  # False: every question takes the long way


class Shortcut(msgspec.Struct, gc=False):
    """What a hit was decided by, and what it was answered with.

    Why nobody gets here what the long way would not give. The order of the onion is deadline, authorize, limit, cache, and each
    of them has its say. What a layer decides from things that cannot change is decided already, and taken over only while these
    things are the very same objects; what may change by itself is asked again:

    - who asks: the credential was checked as always, and gave the same frozen principal; the same snapshot therefore permits the
      same model under the same name, and binds it by no limit, as it was found not to be (a bound question is never remembered);
    - the plan: the model is steady, so it hangs on the snapshot, the principal, the headers and the body alone. All are the same
      but for headers that no route of it looks at; priority, timeout, Cache-Control and codings stand in those that are the same;
    - what the backend takes: the signature is the one that let it pass. A question for a version is never remembered;
    - the deadline is this request's own, and looked at;
    - the cache: its worth, its secret, the versions behind its keys, the store with its purges, and the clock are asked by the
      cache itself (policies.keeping.Found). The answer goes out only if the store gives the very entries it was written from.

    Where anything is not so, nothing has been counted or written, and the question takes the long way from its beginning.
    """

    mark: object  # the snapshot's: the snapshot itself would be kept as long as this
    heeded: Mapping[str, str]  # the headers without those that are PASSING
    target: Target
    signature: Signature | None
    timeout: float  # seconds
    still: Still | None  # None of what lies further away, for which nobody can say at once
    exchange: Exchange  # of that hit
    body: bytes | memoryview = b""
    lines: str = ""  # those headers of its answers that repeat, written out
    afar: Afar | None = None  # in place of `still`

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return 1000 + len(self.body) + sum([len(name) + len(value) + 150 for name, value in self.exchange.headers.items()])

    def answer(self, plane: Dataplane, exchange: Exchange, now: float, again: Again | None = None) -> HttpResponse | None:
        """The answer, noted in the exchange; None: the long way. `now` on the clock of `received`.

        `again` is for requests that have no headers but those that are heeded.
        """
        known = self.exchange
        if exchange.principal is not known.principal:
            return None
        if exchange.record.path != known.record.path or not (exchange.headers is known.headers or self._alike(exchange.headers)):
            return None
        left = self.left(plane, exchange.received, now)
        if left is None:
            return None
        exchange.repeated(known)
        lines = self.lines + told_again(exchange.record.request_id, now - exchange.received, left)
        return HttpResponse(200, (), self.body, (), lines, again if again and PASSING.isdisjoint(exchange.headers) else None)

    def left(self, plane: Dataplane, received: float, now: float) -> float | None:
        """Seconds for which it is fresh, counted as a hit, for whoever has seen that the question is the same."""
        if plane.snapshot.mark is not self.mark or plane.signature(self.target) is not self.signature:
            return None
        return self.still.fresh() if now < received + self.timeout and self.still is not None else None

    def stands(self, plane: Dataplane, received: float, now: float) -> bool:
        """The same but for the cache, of which nothing is counted."""
        same = plane.snapshot.mark is self.mark and plane.signature(self.target) is self.signature
        return same and now < received + self.timeout

    def _alike(self, headers: Mapping[str, str]) -> bool:
        passing = len([name for name in PASSING if name in headers])
        return len(headers) == len(self.heeded) + passing and self.heeded.items() <= headers.items()


def shortcut(plane: Dataplane, snapshot: Snapshot, call: Call, answer: Answer, exchange: Exchange) -> Shortcut | None:
    """For questions such as this one, which was answered by a hit; None where they might be answered otherwise.

    To be made in the same turn of the loop in which the hit was found: then nothing has changed since. Of one that was found
    further away, whoever asked must have seen that what the backend takes is what it was before.
    """
    if not OPEN or answer.cached is None or answer.quota is not None:
        return None
    if answer.cached.still is None and answer.cached.afar is None:
        return None
    if call.request.version or not snapshot.models[call.model].steady:
        return None
    heeded, target = {name: value for name, value in exchange.headers.items() if name not in PASSING}, call.plan.stages[0].target
    timeout = call.deadline.at - call.received
    cached = answer.cached
    return Shortcut(snapshot.mark, heeded, target, plane.signature(target), timeout, cached.still, exchange, afar=cached.afar)
