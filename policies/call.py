"""A request plus what was decided about it, the answer to it, and the shape of a policy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal, Protocol

import msgspec

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest, InferenceResponse
from routing.bill import Bill
from routing.budgets import Kind as Spendable
from routing.cascade.confidence import Scores
from routing.demand import Kind, Verdict
from routing.match import Question
from routing.plan import Plan, Target
from routing.principal import Principal
from routing.rollout.rolling import Ended


class Call(msgspec.Struct, frozen=True, gc=False):
    """One question on its way in. `target` is None until a layer has chosen whom to ask; `question` is what routing saw."""

    model: str  # the public name
    request: InferenceRequest
    principal: Principal
    plan: Plan
    deadline: Deadline
    target: Target | None = None
    question: Question | None = None
    size: int = 0  # bytes of the request's body or message, unpacked
    received: float = 0.0  # when its first byte came, on the deadline's clock
    key: bytes = b""  # equal for questions that may share one answer; empty: this one may not
    drawn: tuple[Draw, ...] = ()  # its sides of the rollouts that concern the model
    quota: Quota | None = None  # of limits that have counted it already
    bill: Bill | None = None  # what it may cost, where somebody counts
    again: Callable[[], Awaitable[Answer | None]] | None = None  # looks once more whether the answer is kept, by another process


class Draw(Protocol):
    """A request's side of a rollout."""

    @property
    def open(self) -> bool:
        """Whether it could have been the other side's, so that it says something."""
        ...

    def meets(self, target: Target, plan: Plan) -> bool:
        """Whether it is this target that it was drawn for, and it was not asked yet."""
        ...

    def begin(self) -> None:
        """It is asked."""
        ...

    def end(self, ended: Ended) -> None:
        """What it came to."""
        ...


NO_DRAWS: tuple[Draw, ...] = ()


class Share(msgspec.Struct, frozen=True, gc=False):
    """The rows of an answer that one variant gave; `model` and `version` are the backend's own words."""

    variant: str
    rows: int
    model: str
    version: str


class Asked(msgspec.Struct, frozen=True, gc=False):
    """One paid ask of a cascade. `scores`: how sure it was, row by row as asked; None where nobody wanted to know."""

    variant: str
    rows: int
    seconds: float
    scores: Scores | None


class Counted(msgspec.Struct, frozen=True, gc=False):
    """One allowance of a limit that counted a question: `burst` units, all back `window` seconds after they were used up."""

    limit: str
    kind: Kind | Spendable
    burst: int
    window: int  # whole seconds; 0 where time gives nothing back


class Quota(msgspec.Struct, frozen=True, gc=False):
    """What is left to whoever asked: all that counted the question, and the verdict on them, by their places here."""

    counted: tuple[Counted, ...]
    verdict: Verdict


class LimitedError(InferenceError):
    """A limit of the principal's is used up; `quota` says which."""

    def __init__(self, message: str, quota: Quota) -> None:
        super().__init__(ErrorKind.LIMITED, message, source="client", retry_after=quota.verdict.retry_after)
        self.quota = quota


class Still(Protocol):
    """How to look up once more what was found, for who has seen that the question, its principal and its plan are the same."""

    def fresh(self) -> float | None:
        """Seconds for which the very same answer is fresh, counted as a hit; None, and nothing is counted: to be looked up."""
        ...


class Afar(Protocol):
    """How to ask once more for what was found in a store further away; the rest as Still."""

    @property
    def seconds(self) -> float:
        """The longest that it takes to ask."""
        ...

    def open(self) -> bool:
        """Whether it may be as it was, and can be asked."""
        ...

    def ask(self, heard: Callable[[bool], None]) -> None:
        """`heard` is told once whether the very same answer is kept; it does not raise. Nothing is counted of the question."""
        ...

    def fresh(self, since: float) -> float | None:
        """As Still.fresh, for whoever has just heard that it is, and began `since`."""
        ...


CacheStatus = Literal["hit", "stale", "miss", "partial", "request", "bypass", "off"]


class Past(Protocol):
    """How to find out once more that a question of the model is not looked up, for who has seen that it asks for no other."""

    def stands(self, now: float) -> bool:
        """Whether that is so still."""
        ...

    def count(self) -> None:
        """One more was answered so."""
        ...


class Cached(msgspec.Struct, frozen=True, gc=False):
    """What the cache had to do with an answer; `ttl` in seconds, negative where it was over.

    `request`: the client would have nothing that is kept. `bypass`: this question is not looked up, `detail` says why. `off`: no
    question of the model is, since it gained nothing.
    """

    status: CacheStatus
    ttl: float | None = None
    stored: bool = False
    collapsed: bool = False
    detail: str = ""
    kept: float = 0.0  # of a partial hit: the share of its rows
    still: Still | None = None  # of a hit that was found at once, by a question that is known to come again
    afar: Afar | None = None  # the same of one that was found further away, and is kept there only
    past: Past | None = None  # of `off`


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A response plus who gave it and what it took."""

    response: InferenceResponse
    shares: tuple[Share, ...]  # in stage order
    cost: float  # in the policy's unit, all asks together
    backend_seconds: float  # time spent waiting for backends
    escalation: str = "none"
    asks: tuple[Asked, ...] = ()  # of a cascade whose route is sampled, in stage order
    quota: Quota | None = None  # where a limit counted the question
    owners: tuple[int, ...] = ()  # of a cascade: by row, the place of its share
    planned: bool = True  # False if somebody stood in for a target, or a stage was skipped: the next answer may be another
    collapsed: bool = False  # it is the answer to an equal question that was in flight
    cached: Cached | None = None  # where a cache was looked at


Ask = Callable[[Call], Awaitable[Answer]]
StreamAsk = Callable[[Call], AsyncGenerator[Answer, None]]


class Policy(Protocol):
    """One layer of the onion."""

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """Answers the call itself or by `ask`, the layers below."""
        ...


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An answer that is kept, or one row of one. Moments are the clock's of whoever keeps it, in seconds.

    `key` is the one it was kept under: a value that comes back under another is nobody's.
    """

    key: bytes
    response: InferenceResponse
    shares: tuple[Share, ...]
    escalation: str
    asks: tuple[Asked, ...]
    seconds: float  # that backends took for it
    asked: float  # when; what is purged later goes, whenever its answer came
    until: float  # fresh
    tag: str
    size: int  # bytes, about
    more: tuple[InferenceResponse, ...] = ()  # of a stream: its other answers, in order
    seal: bytes = b""  # what names its content where it came from, if that is a store further away


class Ending(msgspec.Struct, frozen=True, gc=False):
    """How an ask ended: `outcome` is `ok`, an error's kind, or `abandoned`; `cost` is of all its attempts together."""

    rows: int
    seconds: float
    outcome: str
    cost: float


class Observer(Protocol):
    """Who is told what happened; metrics are one. Never raises, never awaits."""

    def asked(self, model: str, target: Target, ending: Ending) -> None:
        """One ask of a target ended."""
        ...

    def escalated(self, model: str, source: str, target: str, outcome: str) -> None:
        """Rows of `source` were unsure: `outcome` is `asked`, or why they stayed (`deadline`, `error`)."""
        ...

    def fell_back(self, model: str, source: str, target: str) -> None:
        """`source` failed and `target` is asked instead."""
        ...


def translated(error: InferenceError, call: Call) -> InferenceError:
    """As the client may hear it: under the public name; a model that the policy names but the backend lacks is our outage,
    unless the client itself asked for that version."""
    if error.kind is ErrorKind.NOT_FOUND and not call.request.version:
        return InferenceError(
            ErrorKind.UNAVAILABLE, f"model '{call.model}' is not loaded at its backend", source=error.source, reason="not-loaded"
        )
    own = call.target.model if call.target else call.model
    if own != call.model and f"'{own}'" in error.message:
        return error.again(error.message.replace(f"'{own}'", f"'{call.model}'"))
    return error
