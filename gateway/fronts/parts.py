"""What every front is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.auth.authenticator import Authenticator
from gateway.dataplane import Dataplane
from gateway.telemetry.record import RequestRecord
from gateway.telemetry.recorder import Recorder
from routing.principal import Principal


@dataclass(frozen=True, slots=True)
class FrontParts:
    """`ready` says whether this process wants traffic; `new_id` makes request ids; `inflated` bounds a body once inflated;
    `samples` records requests of sampled routes; `leaving` says whether requests that are cut off are so by this process's end;
    `feedback` takes in what a client tells later of its requests; `left` is told of clients that left in the middle of a `body`
    or an `answer`.
    """

    plane: Dataplane
    authenticator: Authenticator
    record: Callable[[RequestRecord], None]
    new_id: Callable[[], str]
    ready: Callable[[], bool]
    inflated: int
    samples: Recorder | None = None
    leaving: Callable[[], bool] = lambda: False
    left: Callable[[str], None] = lambda _: None
    feedback: Callable[[Principal, bytes], int] = lambda *_: 0
