"""A recorded request: what a policy looked at and what came of it, so that another policy can be tried on the same traffic.

No payload is ever recorded: no tensor, no output, no path, address or credential. Who asked, and every text that a client wrote
into a header or parameter, is a pseudonym: a keyed hash whose key, the salt, stands in the same line. Whoever has the file can
find out whether a name they know is in it (a backtest does just that for the names a policy speaks of): this keeps names from
being read, it does not make anybody anonymous.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated

import msgspec
import numpy as np

from backends.inference import Parameter
from routing.cascade.confidence import Scores
from routing.plan import Confidence, Plan, Stage, Target

FORMAT = 1
MAX_LINE = 64 << 10  # bytes; a longer sample is not recorded
UNIT = 1_000_000  # confidences are whole millionths, rounded down: thresholds of up to six digits are judged exactly
_LARGEST = 1 << 53


class PlannedStage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One stage of the plan. `target` is `backend/model/version` in the backend's own names.

    `scale` stands for the maps that its scores have gone through, "" for none.
    """

    variant: str
    target: str
    accept: float | None = None
    scale: str = ""


class Ask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One ask that was answered: by whom, for how many rows, how long it took, and how sure it was of each, in 1/UNIT."""

    variant: str
    rows: int
    ms: float
    scores: tuple[int, ...] | None = None


class Sample(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line. Headers, parameters, lengths and scores are those that the policy looked at; null where there were none."""

    sample: int  # FORMAT
    time: float  # seconds of the epoch
    request_id: str
    salt: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    policy: str
    share: Annotated[float, msgspec.Meta(gt=0, le=1)]  # of such requests that are recorded
    model: str
    code: str
    ms: float
    asked: str = ""  # the alias that the client used
    tenant: str = ""
    subject: str = ""
    tier: str = ""
    scopes: tuple[str, ...] = ()
    version: str = ""
    rows: int | None = None
    bytes: int | None = None
    priority: int | None = None
    headers: Mapping[str, str | None] = {}
    parameters: Mapping[str, Parameter | None] = {}
    text_length: Mapping[str, int | None] = {}
    prompt: Mapping[str, int | None] = {}  # scores in 1/UNIT, by the hash and the input of who scored
    looked: tuple[str, ...] = ()  # `bytes` and `priority`, where the policy looked at them
    places: Mapping[str, Mapping[str, float]] = {}
    route: str = ""  # "" for a request that the policy refused
    stages: tuple[PlannedStage, ...] = ()
    confidence: tuple[str, str] | None = None  # output, metric with all that is said of how it is read
    shares: Mapping[str, int] = {}
    cost: float = 0.0
    backend_ms: float = 0.0
    asks: tuple[Ask, ...] = ()
    escalation: str = ""
    reason: str = ""


def pseudonym(salt: bytes, text: str) -> str:
    """`#` and 16 hexadecimal digits that stand for the text under this salt; "" stands for itself."""
    return "#" + blake2b(text.encode("utf-8", "surrogatepass"), key=salt, digest_size=8).hexdigest() if text else ""


def hidden(salt: bytes, value: Parameter) -> Parameter:
    """A parameter's value without what a client may have written into it."""
    return pseudonym(salt, value) if isinstance(value, str) else value


def target_text(target: Target) -> str:
    """Which model answers, whatever the policy calls it."""
    return f"{target.backend}/{target.model}/{target.version}"


def stages(plan: Plan) -> tuple[PlannedStage, ...]:
    """The plan's stages as a sample tells them."""
    return tuple([PlannedStage(each.target.variant, target_text(each.target), each.accept, _scale(each)) for each in plan.stages])


def _scale(stage: Stage) -> str:
    if stage.calibration is None:
        return ""
    told = repr((stage.label, sorted(stage.calibration.maps.items())))
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def confidence_text(confidence: Confidence | None) -> tuple[str, str] | None:
    """What the stages' thresholds are held against."""
    if confidence is None:
        return None
    more = [*(["logits"] if confidence.logits else []), *([] if confidence.path is None else [".".join(("$", *confidence.path))])]
    return confidence.output, " ".join((confidence.metric, *more))


def millionths(scores: Scores) -> tuple[int, ...]:
    """The scores as whole numbers n with n/UNIT <= score < (n+1)/UNIT, in doubles; what is not finite goes to the edge."""
    bounded = np.clip(np.nan_to_num(scores, nan=-math.inf), -_LARGEST / UNIT, _LARGEST / UNIT)
    found = np.floor(bounded * UNIT)
    found += (found + 1) / UNIT <= bounded
    found -= found / UNIT > bounded
    return tuple(found.astype(np.int64).tolist())
