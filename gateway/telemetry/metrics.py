"""Every metric of the gateway by name, and the one observer that turns events into them.

Label values come from the policy document and from bounded words of ours, never from a client: what is not in the document is "".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from backends.admission import Why
from gateway.telemetry.audits import AuditCounts, AuditNumbers
from gateway.telemetry.costs import CostNumbers, Part
from gateway.telemetry.record import RequestRecord
from gateway.telemetry.rollouts import RolloutNumbers
from gateway.telemetry.series import Cell, Distribution, Distributions, Numbers
from gateway.telemetry.usage import Usage
from policies.call import Ending
from routing.plan import Target

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STALLS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
STORE = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05)
OVERHEAD = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1)
# Reasons of a refusal by which the gateway protects itself or a backend.
SHED = frozenset({*(why.value for why in Why), "connections", "draining"})
CLIENT_LEFT = "client-left"  # the reason of a request whose client hung up
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Line:
    """The cells that one kind of request touches, found once."""

    __slots__ = ("overhead", "part", "requests", "rows", "seconds")

    def __init__(self, requests: Cell, seconds: Distribution, overhead: Distribution, part: Part, rows: Sequence[Cell]) -> None:
        self.requests = requests
        self.seconds = seconds
        self.overhead = overhead
        self.part = part
        self.rows = rows  # of each variant that it names


class _Asked:
    """The cells that one kind of ask touches."""

    __slots__ = ("asks", "cost", "rows", "seconds")

    def __init__(self, cells: tuple[Cell, Cell, Cell], seconds: Distribution) -> None:
        self.cost, self.asks, self.rows = cells
        self.seconds = seconds


class Metrics:
    """Implements policies.call.Observer; `in_flight` tells, when scraped, how many questions each backend holds now,
    `serving` which of its endpoints take questions, `lanes` how many of each model it is worth asking at once and how many
    wait, `store_up` whether the shared store may be asked, `issuers` whose keys could be had when they were last asked for.
    """

    cache_size: Callable[[], int] | None = None  # bytes of kept answers, where some may be
    store_up: Callable[[], bool] | None = None  # where there is a store

    def __init__(self, in_flight: Callable[[], Mapping[str, int]] = dict) -> None:
        self.in_flight = in_flight
        self.serving: Callable[[], Iterable[tuple[str, str, bool]]] = tuple
        self.lanes: Callable[[], Iterable[tuple[str, str, int, int]]] = tuple
        self.issuers: Callable[[], Iterable[tuple[str, bool]]] = tuple
        self._requests = _counter("requests_total", "requests that ended, by status", "model", "route", "variant", "code")
        self._seconds = _histogram("request_seconds", "first byte in to answer ready", SECONDS, "model", "route")
        self._overhead = _histogram("overhead_seconds", "time in the gateway, backend excluded", OVERHEAD, "model")
        self._backend_seconds = _histogram("backend_seconds", "time of one ask of a backend", SECONDS, "backend", "variant")
        self._backend_requests = _counter("backend_requests_total", "asks sent to an endpoint", "backend", "endpoint", "outcome")
        self._in_flight = Numbers("gauge", "penstock_in_flight", "questions that a backend holds now", ("backend",))
        self._concurrency, self._waiting = _lanes()
        self._serving = Numbers("gauge", "penstock_endpoint_up", "1 if the endpoint takes questions", ("backend", "endpoint"))
        self._repeats = _counter("repeats_total", "attempts beyond a question's first", "backend", "why")
        self._rows = _counter("rows_total", "rows answered", "model", "variant")
        self._escalations = _counter(
            "escalations_total", "asks of a dearer stage for unsure rows", "model", "from", "to", "outcome"
        )
        self._fallbacks = _counter("fallbacks_total", "asks of another target because of an error", "model", "from", "to")
        self.costs = CostNumbers()
        self._cached, self._cache_size, self._shared = _caches()
        self._shadowed = _counter("shadow_total", "questions drawn for a shadow, by what became of them", "shadow", "outcome")
        self.rollouts, self.audits, self.audited = RolloutNumbers(), AuditNumbers(), AuditCounts()
        self._limited = _counter("limited_total", "requests refused because a limit of the policy was used up", "limit")
        self._shed = _counter("shed_total", "requests refused for want of room", "reason")
        self._store_requests = _counter(
            "store_requests_total", "questions to the shared store, and those decided alone", "outcome"
        )
        self._store_seconds = _histogram("store_seconds", "time of one question to the shared store", STORE)
        self._store_up = Numbers("gauge", "penstock_store_up", "1 if the shared store may be asked", ())
        self._issuers = Numbers("gauge", "penstock_issuer_up", "1 if the issuer's keys were had at the last fetch", ("issuer",))
        self._policy = Numbers("gauge", "penstock_policy_info", "1 for the policy version in force", ("version",))
        self._reloads = _counter("policy_reloads_total", "attempts to load a policy", "result")
        self._abandoned = _counter("abandoned_total", "work that nobody waited for any more", "stage")
        self._stalls = _histogram("loop_stall_seconds", "how late a timer of every 20 ms came: the event loop was held", STALLS)
        self.stalled = self._stalls.cell().observe
        self._usage = Usage()
        self._lines: dict[tuple[str, str, str, str, bool], Line] = {}
        self._asks: dict[tuple[str, str, str], _Asked] = {}

    def requested(self, record: RequestRecord) -> None:
        """One request ended, in whatever way."""
        line = record.line or self._line(record)
        line.requests.value += 1
        seconds, overhead = line.seconds, line.overhead  # what observe() does, without two calls in each request
        seconds.counts[bisect_left(SECONDS, record.seconds)] += 1
        seconds.total += record.seconds
        if record.overhead_seconds:
            overhead.counts[bisect_left(OVERHEAD, record.overhead_seconds)] += 1
            overhead.total += record.overhead_seconds
        if record.variant:
            line.part.answered(record)
        shares = record.shares
        if len(shares) == 1:
            line.rows[0].value += shares[0][1]
        else:
            for cell, (_, rows) in zip(line.rows, shares, strict=True):
                cell.value += rows
        if not record.reason:
            return
        if record.reason in SHED:
            self._shed.cell(record.reason).value += 1
        elif record.reason == CLIENT_LEFT:
            self._abandoned.cell("request").value += 1

    def asked(self, model: str, target: Target, ending: Ending) -> None:
        """One ask of a target ended."""
        key = (model, target.backend, target.variant)
        cells = self._asks.get(key)
        if cells is None:
            cells = _Asked(self.costs.asked(model, target.variant), self._backend_seconds.cell(target.backend, target.variant))
            self._asks[key] = cells
        seconds = cells.seconds  # as in requested
        seconds.counts[bisect_left(SECONDS, ending.seconds)] += 1
        seconds.total += ending.seconds
        cells.cost.value += ending.cost
        cells.asks.value += 1
        cells.rows.value += ending.rows

    def sent(self, backend: str, endpoint: str, outcome: str) -> None:
        """One attempt at an endpoint ended: `ok`, an error's kind, or `abandoned`."""
        if outcome == "abandoned":
            self.left("backend")
        self._backend_requests.cell(backend, endpoint, outcome).value += 1

    def left(self, stage: str) -> None:
        """Somebody left: in the middle of a `body` or an `answer`, in a `queue`, or while a `backend` was asked."""
        self._abandoned.cell(stage).value += 1

    def repeated(self, backend: str, why: str) -> None:
        """A question was asked once more: `retry` after a failure, `late` or `hedge` beside an attempt that takes long."""
        self._repeats.cell(backend, why).value += 1

    def escalated(self, model: str, source: str, target: str, outcome: str) -> None:
        """Rows of `source` were unsure."""
        self._escalations.cell(model, source, target, outcome).value += 1

    def fell_back(self, model: str, source: str, target: str) -> None:
        """`source` failed and `target` was asked instead."""
        self._fallbacks.cell(model, source, target).value += 1

    def cached(self, model: str, result: str) -> None:
        """A model with a cache was asked: `hit`, `stale`, `partial`, `miss`, `collapsed`, `request`, `bypass` or `off`."""
        self._cached.cell(model, result).value += 1

    def shared(self, outcome: str, count: int) -> None:
        """So many answers were looked for in the store, or should go there: `found`, `missing`, `refused`, `sent`, `left`."""
        self._shared.cell(outcome).value += count

    def shadowed(self, model: str, shadow: str, outcome: str) -> None:
        """A question was mirrored (`compared`, `timeout`, `error`), or why it was not."""
        self._shadowed.cell(f"{model}/{shadow}", outcome).value += 1

    def limits(self, names: Iterable[str]) -> None:
        """These may refuse: told from 0 on, for a rate misses whatever a counter begins with."""
        for name in names:
            self._limited.cell(name)

    def limited(self, limit: str) -> None:
        """A limit of the policy refused a question."""
        self._limited.cell(limit).value += 1

    def stored(self, outcome: str, seconds: float) -> None:
        """One question to the shared store: `ok`, why it gave no answer, or `away`, when it is not asked."""
        self._store_requests.cell(outcome).value += 1
        if seconds:
            self._store_seconds.cell().observe(seconds)

    def policy_loaded(self, version: str) -> None:
        """This version is in force from now on."""
        self._policy.clear()
        self._lines.clear()  # of routes that may be gone
        self._policy.cell(version).value = 1
        self._reloads.cell("ok").value += 1

    def policy_refused(self) -> None:
        """A policy document was refused; the one before stays."""
        self._reloads.cell("refused").value += 1

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4, written on the event loop so that no number is half counted."""
        self._in_flight.clear()
        for backend, count in self.in_flight().items():
            self._in_flight.cell(backend).value = count
        self._serving.clear()
        for backend, endpoint, serves in self.serving():
            self._serving.cell(backend, endpoint).value = int(serves)
        if self.cache_size is not None:
            self._cache_size.cell().value = self.cache_size()
        for family in (self._concurrency, self._waiting):
            family.clear()
        for backend, model, limit, waiting in self.lanes():
            self._concurrency.cell(backend, model).value, self._waiting.cell(backend, model).value = limit, waiting
        for issuer, up in self.issuers():
            self._issuers.cell(issuer).value = int(up)
        if self.store_up is not None:
            self._store_up.cell().value = int(self.store_up())
        own = (family for family in vars(self).values() if isinstance(family, Numbers | Distributions))
        more = (self.costs, self.rollouts, self.audits, self.audited, self._usage)
        return _text((*own, *(family for each in more for family in each.families())))

    def _line(self, record: RequestRecord) -> Line:
        model, route, variant, code = record.model, record.route, record.variant, record.code
        key = model, route, variant, code, record.cascade  # which a route may be from one policy to the next
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(
                self._requests.cell(model, route, variant, code),
                self._seconds.cell(model, route),
                self._overhead.cell(model),
                self.costs.part(record),
                [self._rows.cell(model, each) for each, _ in record.shares],
            )
        record.line = line
        return line


class ParentMetrics:
    """What the parent of several workers counts itself; the rest of an exposition is the sum of theirs."""

    WHOLE = frozenset({"penstock_policy_reloads_total"})  # one reload is one, however many workers follow it

    def __init__(self) -> None:
        self._reloads = _counter("policy_reloads_total", "attempts to load a policy", "result")
        self._workers = Numbers("gauge", "penstock_workers", "workers that serve now", ())
        self._ends = _counter("worker_ends_total", "workers that ended without being told to")
        self.rollouts, self.audits = RolloutNumbers(), AuditNumbers()
        self._usage = Usage()
        self._ends.cell()

    def policy_loaded(self) -> None:
        """Every worker is given this one from now on."""
        self._reloads.cell("ok").value += 1

    def policy_refused(self) -> None:
        """A policy document was refused; the one before stays."""
        self._reloads.cell("refused").value += 1

    def worker_ended(self) -> None:
        """One that should have gone on."""
        self._ends.cell().value += 1

    def exposition(self, workers: int) -> bytes:
        """The parent's part, while so many workers serve."""
        self._workers.cell().value = workers
        more = (*self.rollouts.families(), *self.audits.families(), *self._usage.families())
        return _text((self._reloads, self._workers, self._ends, *more))


def _text(families: Iterable[Numbers | Distributions]) -> bytes:
    return ("\n".join(line for family in families for line in family.lines()) + "\n").encode()


def _lanes() -> tuple[Numbers, Numbers]:
    lane = ("backend", "model")
    worth = Numbers("gauge", "penstock_concurrency_limit", "questions that are worth asking it at once", lane)
    return worth, Numbers("gauge", "penstock_waiting", "questions that wait for a place there", lane)


def _caches() -> tuple[Numbers, Numbers, Numbers]:
    asked = _counter("cache_requests_total", "questions to models with a cache, and how they were answered", "model", "result")
    shared = _counter("cache_store_total", "answers looked for in the shared store, or to be kept there", "outcome")
    return asked, Numbers("gauge", "penstock_cache_bytes", "answers kept in memory, about", ()), shared


def _counter(name: str, explanation: str, *labels: str) -> Numbers:
    return Numbers("counter", f"penstock_{name}", explanation, labels)


def _histogram(name: str, explanation: str, bounds: tuple[float, ...], *labels: str) -> Distributions:
    return Distributions(f"penstock_{name}", explanation, labels, bounds)
