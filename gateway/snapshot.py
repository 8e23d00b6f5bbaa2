"""Everything a request needs to know of the policy, frozen: swapped whole by one assignment, never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backends.cluster import Cluster
from backends.errors import ErrorKind, InferenceError
from backends.rules import Rules
from gateway.door import OPEN, Door
from policies.call import Ask, Call, StreamAsk
from policies.direct import Direct
from policies.rollout import Rolled
from routing.conditions import Looks
from routing.match import Versions
from routing.plan import Target
from routing.planner import Planner
from routing.sampling import Sampling

PASSING = frozenset({"x-request-id", "traceparent", "tracestate"})  # headers that are another request's each time


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A cluster as the policy describes it; two equal specs are the same cluster, so a reload keeps its connections."""

    name: str
    protocol: str
    endpoints: tuple[tuple[str, int], ...]
    balance: str
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Model:
    """One public model: how to plan a question and how to ask it. `targets` are all that its routes may ask, in their order."""

    name: str
    plan: Planner
    ask: Ask
    stream: StreamAsk
    targets: tuple[Target, ...]
    looks: Looks | None = None  # None where its routes look at nothing that costs: asked of every request
    versions: Versions = field(default_factory=Versions)  # that clients may ask for
    sampling: Sampling | None = None  # what to record of its requests; None: nothing
    door: Door = OPEN
    steady: bool = False  # whether its plans depend on nothing that is PASSING, nor on the request's id, nor on rollouts
    rolled: Rolled | None = None  # who plans in place of `plan`, where rollouts may swap variants
    candidates: tuple[Target, ...] = ()  # of those rollouts
    baseline: Callable[[int], float] | None = None  # what so many rows would have cost of the dearest; None: so much a row
    direct: Callable[[Call], Direct | None] | None = None  # how to ask questions like one; None where each takes the whole way


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One policy document, compiled. `version` is the content hash shown in X-Penstock-Policy."""

    version: str
    models: Mapping[str, Model]
    clusters: Mapping[str, Cluster]
    specs: Mapping[str, ClusterSpec]
    aliases: Mapping[str, str] = field(default_factory=dict)
    mark: object = field(default_factory=object, compare=False)  # this one's: whoever remembers by what it decided keeps no more

    def streams(self, target: Target) -> bool:
        """Whether the target's backend can give more than one answer to a question."""
        return self.specs[target.backend].protocol == "triton-grpc"

    def model(self, name: str) -> Model:
        """The public model of that name, or of that alias. Raises NOT_FOUND."""
        found = self.models.get(name) or self.models.get(self.aliases.get(name, ""))
        if found is None:
            raise InferenceError(
                ErrorKind.NOT_FOUND, f"unknown model '{name}'; POST /v2/repository/index lists those you may use", source="client"
            )
        return found
