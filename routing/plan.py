"""What was decided about one request before anybody was asked."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from routing.cache.caching import Caching
from routing.cascade.audits import Audit
from routing.cascade.calibration import Calibration
from routing.price import Price
from routing.shadow.shadows import Shadow


class Target(msgspec.Struct, frozen=True, gc=False):
    """One variant of a public model: whom to ask for it, and what a row costs."""

    variant: str
    backend: str  # the cluster's name
    model: str  # the backend's own name for the model
    version: str = ""  # "": whichever version the backend serves by default
    cost: float = 0.0  # per row, in the policy's own unit
    timeout: float | None = None  # seconds that one ask of it may take; None: as long as the request's deadline allows
    price: Price | None = None  # what an ask costs beside its rows; None: nothing
    row_independent: bool = True  # a row's answer is the same beside any other rows


class Confidence(msgspec.Struct, frozen=True, gc=False):
    """How sure an answer is, read from one of its outputs; always larger when surer."""

    output: str
    metric: str  # of routing/cascade/confidence.py's METRICS
    logits: bool = False  # the output holds logits, of which the softmax are the probabilities
    path: tuple[str, ...] | None = None  # the output's elements are JSON documents, and this is the place in them

    @property
    def text(self) -> str:
        """For people: `max-softmax of the softmax of logits`, `json of $.score in answer`."""
        read = self.output if self.path is None else f"{'.'.join(('$', *self.path))} in {self.output}"
        return f"{self.metric} of {'the softmax of ' if self.logits else ''}{read}"


class Stage(msgspec.Struct, frozen=True, gc=False):
    """One step of a cascade; rows at least `accept` sure stay, the others go up. None: whatever comes is accepted.

    With a calibration that is held against the calibrated score. `label`: the output that says which label is predicted; "" where
    that is the place of the largest value.
    """

    target: Target
    accept: float | None = None
    calibration: Calibration | None = None
    label: str = ""


class Plan(msgspec.Struct, frozen=True, gc=False):
    """The route taken and whom it asks. One stage is a plain answer, more are a cascade."""

    route: str
    stages: tuple[Stage, ...]
    timeout: float  # seconds
    confidence: Confidence | None = None
    fallback: Mapping[str, Target] = {}  # variant that failed → whom to ask instead
    sample: float = 0.0  # the share of such requests that is recorded
    dearest: float = 0.0  # what a row of the dearest variant costs, for the counterfactual
    cache: Caching | None = None  # how its answers are kept; None: not at all
    mirrors: tuple[Mirror, ...] = ()  # who may be asked, too, once there is an answer
    swapped: tuple[str, ...] = ()  # candidates of rollouts that it asks in the place of what the route names
    speculate: float | None = None  # the next stage is asked at once where so large a share of rows is expected to go up
    audit: Audit | None = None  # of a cascade; None: nobody looks whether what it keeps is right
    budget: float | None = None  # of a cascade: the share of its rows that may go up; None: all

    @property
    def row_independent(self) -> bool:
        """Whether each of whom it may ask answers a row the same beside any other rows."""
        asked = [stage.target.row_independent for stage in self.stages]
        return False not in (asked + [target.row_independent for target in self.fallback.values()] if self.fallback else asked)


class Mirror(msgspec.Struct, frozen=True, gc=False):
    """One shadow of a plan: the plan with the candidate in it, and the plan itself as it is asked again."""

    shadow: Shadow
    candidate: Plan
    again: Plan
