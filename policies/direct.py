"""Asks a target at once for questions like one that nobody but the deadline and the core had anything to say to.

Which these are is found out from such a question's own call, once; whoever keeps the finding keeps it no longer than what it was
found from: the snapshot, the principal, and all of the question but its tensors' bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from backends.begun import Begun, Told
from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.triton_http import Form
from policies.call import Call, Ending, Observer
from routing.plan import Target


class Direct:
    """The deadline and the core of the onion, for calls that differ by their tensors and their moment; see policies.onion."""

    __slots__ = ("_clock", "_cluster", "_form", "_model", "_observer", "_rows", "_target", "_timeout", "cost")

    def __init__(self, call: Call, cluster: Cluster, form: Form, observer: Observer, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._form = form
        self._observer = observer
        self._clock = clock
        self._model = call.model
        self._rows = call.request.rows or 1
        self._target = _target(call)
        self._timeout = call.deadline.at - call.received
        self.cost = self._target.cost * self._rows  # of each

    def begin(self, id: bytes, tensors: bytes | memoryview, received: float, told: Told) -> Begun | None:
        """Asks, for a request whose first byte came at `received`; see Cluster.begin."""
        now = self._clock()
        deadline = Deadline(received + self._timeout).hop(now)
        if self._target.timeout is not None:
            deadline = deadline.within(self._target.timeout, now)
        return self._cluster.begin(self._form, id, tensors, deadline, told)

    def finish(self, begun: Begun) -> float:
        """Its answer is as expected. Seconds that it took."""
        seconds = begun.finish()
        self._observer.asked(self._model, self._target, Ending(self._rows, seconds, "ok", self.cost))
        return seconds


def direct(clusters: Mapping[str, Cluster], observer: Observer, clock: Callable[[], float], call: Call) -> Direct | None:
    """For calls like this one, to which no layer but deadline and authorize has anything to say; None where it hangs on more
    than the plan whom they ask, or on their answer what they cost.
    """
    target = _target(call)
    if target.price is not None or call.request.version or call.drawn:
        return None
    cluster, unit = clusters[target.backend], call.principal.tenant or call.principal.subject
    form = cluster.form(replace(call.request, model=target.model, version=target.version, unit=unit))
    return None if form is None else Direct(call, cluster, form, observer, clock)


def _target(call: Call) -> Target:
    return call.plan.stages[0].target
