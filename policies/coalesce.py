"""Asks once for all equal questions that are in flight at the same time, and gives every one of them the answer.

    (no flight) --first--> flying --answer or error--> told to all who wait, once; nothing is remembered
    flying --another joins--> flying
    flying --one leaves--> flying   --the last leaves--> cancelled

A flight belongs to nobody's request: it is background work of its own, with the route's whole time, so that the first to ask may
leave, or may have had less time than others, without hurting anybody.

Where processes share what they keep, a flight first takes the lease of its key. Of equal flights of several processes one has it;
the others wait until it has landed, and then look for what it has left. If that is nothing (an error, an answer that is not kept)
they ask at once, each for its own process: nobody queues behind a question that others could not answer either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, Protocol

from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.promise import Promise
from policies.call import Answer, Ask, Call

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


class Lease(Protocol):
    """The right to ask on behalf of all processes. Whoever has it gives it back; of one that died it ends by itself."""

    def release(self, landed: bool) -> None:
        """The end of it; `landed`: whoever waits for it need wait no longer. Never raises, never waits."""
        ...


class Leases(Protocol):
    """Who gives out leases: a store that several processes share."""

    def take(self, key: bytes, until: float) -> Awaitable[Lease | Literal["landed"] | None]:
        """The key's lease; while another process has it, waits, but not beyond the moment `until`.

        "landed": another's flight has just ended. None: nobody can say, or the time is over. Never raises; who is cancelled holds
        nothing.
        """
        ...


class CoalescePolicy:
    """Stands behind the cache, whose key says what is equal, and before what mirrors: one real call, one mirror.

    Without `leases` each process asks for itself.
    """

    def __init__(self, spawn: Spawn, clock: Callable[[], float], leases: Leases | None = None) -> None:
        self._spawn = spawn
        self._clock = clock
        self._leases = leases
        self._flights: dict[tuple[bytes, int | None], _Flight] = {}

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer of the flight with the call's key, which leaves now if there is none. Without a key nobody is asked for."""
        return self._join(call, ask) if call.key else ask(call)

    async def _join(self, call: Call, ask: Ask) -> Answer:
        start = self._clock()
        at = (call.key, call.request.priority)  # who may be refused for want of room takes nobody along who may not
        while True:
            flight, first = self._flights.get(at), False
            if flight is None:
                flight, first = _Flight(), True
                try:
                    flight.task = self._spawn(self._fly(flight, at, call, ask), "flight")
                except RuntimeError:  # there is too much to do in the background already
                    return await ask(call)
                self._flights[at] = flight
            try:
                answer = await self._wait(flight, at)
            except InferenceError as error:
                if error.kind is ErrorKind.DEADLINE and not first and self._clock() < call.deadline.at:
                    continue  # its time was up, ours is not
                raise
            return answer if first else replace(answer, collapsed=True, cost=0.0, backend_seconds=self._clock() - start, asks=())

    async def _wait(self, flight: _Flight, at: tuple[bytes, int | None]) -> Answer:
        promise: Promise[Answer] = Promise(asyncio.get_running_loop())
        flight.waiting.append(promise)
        try:
            return await promise
        except asyncio.CancelledError:
            if promise in flight.waiting:
                flight.waiting.remove(promise)
                if not flight.waiting:
                    self._gone(flight, at)  # whoever comes now must not board what is being cancelled
                    flight.task.cancel()
            raise

    async def _fly(self, flight: _Flight, at: tuple[bytes, int | None], call: Call, ask: Ask) -> None:
        call = replace(call, deadline=Deadline(max(call.deadline.at, call.received + call.plan.timeout)))
        lease: Lease | None = None
        landed = False
        if call.bill is not None:
            call.bill.asked()  # between two asks, too, the first to come may have left
        try:
            if self._leases is None:
                answer = await ask(call)
            else:
                lease, found = await self._leased(self._leases, at, call)
                answer = await ask(call) if found is None else found
            landed = True
        except InferenceError as error:
            landed = True
            self._gone(flight, at)
            flight.failed(error)
        except BaseException:  # the process ends, or a defect: nobody may be left waiting
            self._gone(flight, at)
            flight.failed(InferenceError(ErrorKind.UNAVAILABLE, "the question was given up: ask again"))
            raise
        else:
            self._gone(flight, at)
            for promise in flight.landed():
                promise.set_result(answer)
            if lease is not None:
                await asyncio.sleep(0)  # in this turn those who waited keep the answer; only then may others look for it
        finally:
            if call.bill is not None:
                call.bill.pay(0.0)
            if lease is not None:
                lease.release(landed)

    async def _leased(self, leases: Leases, at: tuple[bytes, int | None], call: Call) -> tuple[Lease | None, Answer | None]:
        """The lease under which to ask, or what another process has left; neither: to be asked without. Raises DEADLINE."""
        key, priority = at
        taken = await leases.take(key if priority is None else key + bytes((priority,)), call.deadline.at)
        if taken == "landed":
            return None, None if call.again is None else await call.again()
        if taken is None and self._clock() >= call.deadline.at:
            raise InferenceError(ErrorKind.DEADLINE, "no answer within the deadline: another process had asked")
        return taken, None

    def _gone(self, flight: _Flight, at: tuple[bytes, int | None]) -> None:
        if self._flights.get(at) is flight:
            del self._flights[at]


class _Flight:
    """One ask and all who wait for it."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.waiting: list[Promise[Answer]] = []

    def landed(self) -> list[Promise[Answer]]:
        """Those still waiting, each once."""
        waiting, self.waiting = self.waiting, []
        return [promise for promise in waiting if not promise.done()]

    def failed(self, error: InferenceError) -> None:
        """Each hears of it by an exception of its own: one that is raised in many places remembers them all."""
        for promise in self.landed():
            promise.set_exception(error.again())
