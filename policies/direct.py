"""Asks a target at once for questions like one that nobody but the deadline and the core had anything to say to.

Which these are is found out from such a question's own call, once; whoever keeps the finding keeps it no longer than what it was
found from: the snapshot, the principal, and all of the question but its tensors' bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from msgspec.structs import replace

from backends.begun import Begun, Told
from backends.cluster import Cluster
from backends.deadline import RESERVE, Deadline
from backends.triton_http import Form
from policies.call import Call, Counted, Ending, Observer, Past
from routing.demand import Verdict
from routing.plan import Target


class Around(NamedTuple):
    """What it is told to, and the clock of deadlines."""

    observer: Observer
    clock: Callable[[], float]


class Toll(Protocol):
    """What limits take of each such question; `weighed`: of those only whose body is as long. `counted` as in Quota."""

    counted: tuple[Counted, ...]
    weighed: bool

    def pay(self) -> Verdict | None:
        """What is left then; None: it is not allowed, and nothing has been taken."""
        ...


Started = tuple[Begun, Verdict | None]
"""A question that was asked; what is left to whoever asked, where a limit counted it."""


class Direct:
    """The deadline and the core of the onion, for calls that differ by their tensors and their moment; see policies.onion.

    `past` is set once where a cache looks none of them up for the time being; whether it stands is asked before each.
    """

    __slots__ = ("_clock", "_cluster", "_cost", "_form", "_model", "_observer", "_rows", "_target", "_timeout", "_toll", "past")

    def __init__(self, call: Call, cluster: Cluster, form: Form, toll: Toll | None, around: Around) -> None:
        self.past: Past | None = None
        self._cluster = cluster
        self._form = form
        self._toll = toll
        self._observer, self._clock = around
        self._model = call.model
        self._rows = call.request.rows or 1
        self._target = _target(call)
        self._timeout = call.deadline.at - call.received
        self._cost = self._target.cost * self._rows  # of each

    @property
    def weighed(self) -> bool:
        """Whether it is for such questions only whose body is as long."""
        return self._toll is not None and self._toll.weighed

    @property
    def counted(self) -> tuple[Counted, ...]:
        """What limits count them by, as in Quota."""
        return () if self._toll is None else self._toll.counted

    def begin(self, id: bytes, tensors: bytes | memoryview, received: float, told: Told) -> Started | None:
        """Asks, for a request whose first byte came at `received`, and counts it; None: nothing has been done."""
        now = self._clock()
        at = received + self._timeout
        deadline = Deadline(at - RESERVE) if at - now > 10 * RESERVE else Deadline(at).hop(now)  # as hop says, in one step
        if self._target.timeout is not None:
            deadline = deadline.within(self._target.timeout, now)
        begun = self._cluster.begin(self._form, deadline, now, told)
        if begun is None:
            return None
        verdict = None
        try:
            if self._toll is not None and (verdict := self._toll.pay()) is None:
                begun.release()
                return None
            begun.send(id, tensors)
        except Exception:  # a defect: the client is told so, and nobody else loses a place by it
            begun.abandon()
            raise
        return begun, verdict

    def finish(self, begun: Begun) -> float:
        """Its answer is as expected. Seconds that it took."""
        seconds = begun.finish()
        self._observer.asked(self._model, self._target, Ending(self._rows, seconds, "ok", self._cost))
        if self.past is not None:
            self.past.count()
        return seconds

    def abandon(self, begun: Begun) -> None:
        """Nobody waits for it any more, and nobody has gone on with it; nothing is done where it has ended. It is paid for."""
        if not begun.ended:
            self._observer.asked(self._model, self._target, Ending(self._rows, begun.abandon(), "abandoned", self._cost))


Tolls = Callable[[Call], Toll | Literal[False] | None]
"""What limits take of questions like the call's: None for nothing, False where that cannot be said at once."""


def direct(clusters: Mapping[str, Cluster], around: Around, tolls: Tolls | None, call: Call) -> Direct | None:
    """For calls like this one, to which no layer but deadline, authorize and, by `tolls`, limit has anything to say.

    None where it hangs on more than the plan whom they ask, on their answer what they cost, or what they are counted by is to be
    waited for, or given back.
    """
    target = _target(call)
    if target.price is not None or call.request.version or call.drawn:
        return None
    toll = None if tolls is None else tolls(call)
    if toll is False:
        return None
    cluster, unit = clusters[target.backend], call.principal.tenant or call.principal.subject
    form = cluster.form(replace(call.request, model=target.model, version=target.version, unit=unit))
    return None if form is None else Direct(call, cluster, form, toll, around)


def _target(call: Call) -> Target:
    return call.plan.stages[0].target
