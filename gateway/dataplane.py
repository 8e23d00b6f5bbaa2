"""Where every transport's questions meet the policy: read the snapshot once, plan, ask the onion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError
from backends.inference import Description, InferenceRequest
from backends.signature import Signature
from gateway.snapshot import Model, Snapshot
from policies.authorize import demand, permitted
from policies.call import Answer, Call
from routing.match import Question
from routing.plan import Plan, Target
from routing.principal import Principal

DESCRIBE_TIMEOUT = 5.0  # seconds, for health and metadata questions


class Inquiry(msgspec.Struct, frozen=True, gc=False):
    """What a transport knows of a request beside its tensors; `received` and `timeout` (the client's own) in seconds."""

    principal: Principal
    headers: Mapping[str, str]
    request_id: str
    received: float
    timeout: float | None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """An answer, the plan it followed and the policy version that made the plan."""

    answer: Answer
    plan: Plan
    policy: str


class Known(Protocol):
    """Who knows what targets take."""

    def get(self, target: Target, /) -> Signature | None:
        """What the target takes; None where nobody knows."""
        ...


class Dataplane:
    """Answers inquiries by the current snapshot. `signatures` fills up as backends tell what their models take."""

    def __init__(self, snapshot: Snapshot, signatures: Known) -> None:
        self.snapshot = snapshot
        self._signatures = signatures

    def plan(self, snapshot: Snapshot, request: InferenceRequest, inquiry: Inquiry) -> Call:
        """Who shall answer, and until when: the earlier of the route's and the client's deadline.

        Raises NOT_FOUND, FORBIDDEN, and INVALID for tensors that the first target is known not to take.
        """
        model = snapshot.model(request.model)
        demand(inquiry.principal, model.name)  # before the plan: a stranger learns nothing of routes and shapes
        question = Question(
            inquiry.principal, inquiry.headers, request.rows, request.parameters, request.version, inquiry.request_id
        )
        plan = model.plan(question)
        signature = self._signatures.get(plan.stages[0].target)
        if signature is not None:
            signature.check(request.inputs, model.name)
        timeout = plan.timeout if inquiry.timeout is None else min(plan.timeout, inquiry.timeout)
        return Call(model.name, request, inquiry.principal, plan, Deadline(inquiry.received + timeout))

    def ask(self, snapshot: Snapshot, call: Call) -> Awaitable[Answer]:
        """One question, one answer."""
        return snapshot.models[call.model].ask(call)

    async def stream(self, snapshot: Snapshot, call: Call) -> AsyncGenerator[Outcome, None]:
        """One question, any number of answers where the plan's one target can give them; else as `ask`."""
        target = call.plan.stages[0].target
        if len(call.plan.stages) > 1 or not snapshot.streams(target):
            yield Outcome(await self.ask(snapshot, call), call.plan, snapshot.version)
            return
        async with aclosing(snapshot.models[call.model].stream(replace(call, target=target))) as answers:
            async for answer in answers:
                yield Outcome(answer, call.plan, snapshot.version)

    async def ready(self, model: str, version: str, principal: Principal) -> bool:
        """Whether every variant that the model's routes may ask is ready; with a version, every one that serves it."""
        snapshot = self.snapshot
        found = snapshot.model(model)
        demand(principal, model)
        targets = _serving(found, version)
        return bool(targets) and await self._targets_ready(snapshot, targets)

    async def index(self, principal: Principal) -> list[dict[str, str]]:
        """The models that the principal may ask, as the repository index extension lists them."""
        snapshot = self.snapshot
        mine = [model for model in snapshot.models.values() if permitted(principal, model.name)]
        states = await asyncio.gather(*(self._targets_ready(snapshot, model.targets) for model in mine))
        return [
            {"name": model.name, "version": "", "state": "READY" if ready else "UNAVAILABLE", "reason": ""}
            for model, ready in zip(mine, states, strict=True)
        ]

    async def describe(self, what: Description, name: str, version: str, principal: Principal) -> dict[str, Any]:
        """Metadata or configuration of the model's first variant, or all its variants' statistics, under the public name.

        With a version, of those that serve it. Raises NOT_FOUND, FORBIDDEN and what the backends raise.
        """
        snapshot = self.snapshot
        model = snapshot.model(name)
        demand(principal, model.name)
        targets = _serving(model, version)
        if not targets:
            raise _unserved(name, version)
        try:
            found = await asyncio.gather(
                *(self._describe(snapshot, what, each) for each in targets[: None if what == "stats" else 1])
            )
        except InferenceError as error:
            if error.kind is ErrorKind.NOT_FOUND:  # the backend speaks of its own names
                raise _unserved(name, version) from error
            raise
        if what == "stats":
            stats = [entry for each in found for entry in each.get("model_stats", ())]
            return {"model_stats": [{**entry, "name": model.name} for entry in stats]}
        return {**found[0], "name": model.name}

    async def _describe(self, snapshot: Snapshot, what: Description, target: Target) -> dict[str, Any]:
        deadline = Deadline(asyncio.get_running_loop().time() + DESCRIBE_TIMEOUT)
        return await snapshot.clusters[target.backend].describe(what, target.model, target.version, deadline)

    async def _targets_ready(self, snapshot: Snapshot, targets: Sequence[Target]) -> bool:
        deadline = Deadline(asyncio.get_running_loop().time() + DESCRIBE_TIMEOUT)
        asks = (snapshot.clusters[target.backend].ready(target.model, target.version, deadline) for target in targets)
        found = await asyncio.gather(*asks, return_exceptions=True)
        for ready in found:
            if isinstance(ready, BaseException) and not isinstance(ready, InferenceError):
                raise ready
        return all(ready is True for ready in found)


def _unserved(name: str, version: str) -> InferenceError:
    if version:
        return InferenceError(
            ErrorKind.NOT_FOUND, f"model '{name}' has no version '{version}'", source="client", reason="version"
        )
    return InferenceError(ErrorKind.UNAVAILABLE, f"model '{name}' is not loaded at its backend", reason="not-loaded")


def _serving(model: Model, version: str) -> Sequence[Target]:
    """The model's targets; with a version those pinned to it, or else those that leave it open, asked for it."""
    if not version:
        return model.targets
    pinned = [target for target in model.targets if target.version == version]
    return pinned or [replace(target, version=version) for target in model.targets if not target.version]
