"""One address of a cluster and what is known against it: whom it may be asked by, and with how much of its weight.

Three witnesses. The server's breaker: questions could not be delivered, or were not answered at all while the checks were not
answered either. A breaker for each model and version: it was asked and failed, which may be the model's or the question's fault.
The checks: a server that does not answer them is `up` no more, and says which models are not ready. Whoever comes back gets its
weight back by and by (slow start), since caches are cold and connections still to be made.

Only what the server's breaker says is final, and that an operator has drained it. The rest is a preference among several: where
every endpoint is doubtful, a question is no worse off than without any of this.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from backends.breaker import Breaker, Event, State
from backends.errors import ErrorKind
from backends.inference import Backend
from backends.rules import Ejection

SLOW_START = 1.5  # seconds until one that came back has its whole weight
FIRST_WEIGHT = 0.1  # of an endpoint that has just come back
MOST_MODELS = 1024  # with failures against them; versions may be named by clients
PLAIN, SERVER, MODEL = 0, 1, 2  # of which breakers an attempt is the probe; SERVER | MODEL: of both

NONE, SICK, SILENT, AWAY = range(4)  # doubts: the model fails there; its checks are not answered; it cannot be reached

Key = tuple[str, str]  # a model's name and version
FAILED = frozenset({ErrorKind.BROKEN, ErrorKind.OVERLOADED})  # kinds that count against a model


@dataclass(slots=True, eq=False)
class Endpoint:
    """`in_flight` counts questions that have not ended, `answers` those that were answered.

    `sound`: nothing at all is known against it, so nobody need look closer.
    """

    address: str
    backend: Backend
    ejection: Ejection = field(default_factory=Ejection)
    in_flight: int = 0
    answers: int = 0
    sound: bool = True
    up: bool = True
    drained: bool = False  # an operator wants it to be asked nothing new
    last_failure: tuple[float, str] | None = None  # when, by the monotonic clock, and its kind
    _server: Breaker = field(init=False)
    _models: dict[Key, Breaker] = field(default_factory=dict)
    _unready: Set[Key] = frozenset()
    _full_at: float = 0.0  # when it has its whole weight again

    def __post_init__(self) -> None:
        self._server = Breaker(self.ejection)

    @property
    def serves(self) -> bool:
        """Whether it takes questions, about some model at least."""
        return self.up and self._server.state is not State.OPEN

    @property
    def breaker(self) -> State:
        """The server's."""
        return self._server.state

    def health(self, key: Key) -> str:
        """What is known of a model here: `ok`, `not-ready` by the checks, `failing` by what became of its questions."""
        model = self._models.get(key)
        if model is not None and model.state is not State.CLOSED:
            return "failing"
        return "not-ready" if key in self._unready else "ok"

    def drain(self, drained: bool, now: float) -> None:
        """Takes it out of use, or into use again by and by; what it has in flight ends as ever."""
        if self.drained and not drained:
            self._return(now)
        self.drained = drained
        self._settle(now)

    def doubt(self, key: Key, now: float) -> int:
        """What speaks against asking it about the model, slow start aside: NONE, SICK, SILENT or, which is final, AWAY."""
        if self.drained or not self._server.admits(now):
            return AWAY
        if not self.up:
            return SILENT
        model = self._models.get(key)
        return NONE if key not in self._unready and (model is None or model.admits(now)) else SICK

    def shut(self, key: Key, now: float) -> bool:
        """Whether it is AWAY, or the model has failed here so often that the next question is not to be lost on it."""
        model = self._models.get(key)
        away = self.drained or not self._server.admits(now)
        return away or (model is not None and not model.admits(now))

    def weight(self, now: float) -> float:
        """How much of its share of the questions it should have."""
        missing = (self._full_at - now) / SLOW_START
        return 1.0 if missing <= 0 else max(FIRST_WEIGHT, 1.0 - missing)

    def enter(self, key: Key, now: float) -> int:
        """Lets an attempt in where it is not AWAY; of which breakers it is the probe."""
        self._settle(now)
        probe = SERVER if self._server.enter(now) else PLAIN
        model = self._models.get(key)
        if model is not None and model.admits(now) and model.enter(now):
            probe |= MODEL
        return probe

    def answered(self, key: Key, probe: int, now: float) -> None:
        """The attempt had its answer."""
        self._end(key, probe, Event.OK, now)

    def failed(self, key: Key, probe: int, kind: ErrorKind, now: float) -> None:
        """The attempt failed; some failures are the question's own, and say that somebody is there."""
        if kind in FAILED or kind in (ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE):
            self.last_failure = now, kind.value
        if kind is ErrorKind.UNAVAILABLE or (kind is ErrorKind.DEADLINE and not self.up):
            self._server_ended(probe, Event.FAILED, now)
            self._model_ended(key, probe, Event.ABANDONED, now)
        elif kind is ErrorKind.DEADLINE:
            self._end(key, probe, Event.ABANDONED, now)
        else:
            self._server_ended(probe, Event.OK, now)
            self._model_ended(key, probe, Event.FAILED if kind in FAILED else Event.OK, now)
        self._settle(now)

    def abandoned(self, key: Key, probe: int, now: float) -> None:
        """Nobody waited for the attempt's answer any more."""
        self._end(key, probe, Event.ABANDONED, now)

    def seen(self, up: bool, unready: Set[Key], now: float) -> None:
        """What a check found."""
        if up and (not self.up or self._unready - unready):
            self._return(now)
        if up:
            self._server.rested(now)
        self.up, self._unready = up, unready
        self._settle(now)

    def _end(self, key: Key, probe: int, event: Event, now: float) -> None:
        self._server_ended(probe, event, now)
        self._model_ended(key, probe, event, now)
        self._settle(now)

    def _server_ended(self, probe: int, event: Event, now: float) -> None:
        self._server.ended(event, bool(probe & SERVER), now)
        if probe & SERVER and event is Event.OK:
            self._return(now)

    def _model_ended(self, key: Key, probe: int, event: Event, now: float) -> None:
        model = self._models.get(key)
        if model is None:
            if event is not Event.FAILED or len(self._models) >= MOST_MODELS:
                return
            model = self._models[key] = Breaker(self.ejection)
        model.ended(event, bool(probe & MODEL), now)
        if model.untouched:
            del self._models[key]
            if probe & MODEL:
                self._return(now)

    def _return(self, now: float) -> None:
        self._full_at = now + SLOW_START

    def _settle(self, now: float) -> None:
        known = self.up and not self.drained and not self._unready and not self._models and self._server.untouched
        self.sound = known and now >= self._full_at
