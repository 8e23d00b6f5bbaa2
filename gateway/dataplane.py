"""Where every transport's questions meet the policy: read the snapshot once, plan, ask the onion."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.errors import ErrorKind, InferenceError, invalid
from backends.inference import Description, InferenceRequest
from backends.signature import Signature
from gateway.question import looked_at, priority_granted, takes_long
from gateway.snapshot import Model, Snapshot
from policies.authorize import demand, permitted
from policies.call import NO_DRAWS, Answer, Call
from routing.match import Question
from routing.plan import Plan, Target
from routing.principal import Principal
from routing.versions import allowed, offered

T = TypeVar("T")
DESCRIBE_TIMEOUT = 5.0  # seconds, for health and metadata questions
_VERSION = re.compile(r"[1-9][0-9]{0,17}")  # Triton's are positive 64-bit integers; it takes "01" and "1" for one and the same


class Inquiry(msgspec.Struct, frozen=True, gc=False):
    """What a transport knows of a request beside its tensors; `received` and `timeout` (the client's own) in seconds.

    `size`: bytes of its body or message, unpacked.
    """

    principal: Principal
    headers: Mapping[str, str]
    request_id: str
    received: float
    timeout: float | None
    size: int = 0


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
        self.signature = signatures.get  # what a target takes, by which its questions are judged; None where nobody knows

    def takes_long(self, snapshot: Snapshot, request: InferenceRequest) -> bool:
        """Whether to plan this request means to walk through its elements: of a large one that is a thread's work.

        Raises NOT_FOUND.
        """
        return takes_long(snapshot.model(request.model).looks, request)

    def plan(self, snapshot: Snapshot, request: InferenceRequest, inquiry: Inquiry) -> Call:
        """Who shall answer, and until when: the earlier of the route's and the client's deadline. Any thread may ask.

        Raises NOT_FOUND, FORBIDDEN, and INVALID for what is no version, no priority or no tensor.
        """
        model = snapshot.model(request.model)
        demand(inquiry.principal, model.name)  # before the plan: a stranger learns nothing of routes and shapes
        if request.version:
            _check_version(model, request.version)
        question = Question(
            inquiry.principal, inquiry.headers, request.rows, request.parameters, request.version, inquiry.request_id
        )
        if model.looks is not None:
            question = looked_at(question, model.looks, request)
        plan, drawn = (model.plan(question), NO_DRAWS) if model.rolled is None else model.rolled.plan(question)
        if request.version:
            self._permit(model, plan.stages[0].target)
        priority = priority_granted(inquiry.headers, inquiry.principal)
        if priority is not None:
            request = replace(request, priority=priority)
        timeout = plan.timeout if inquiry.timeout is None else min(plan.timeout, inquiry.timeout)
        deadline = Deadline(inquiry.received + timeout)
        return Call(
            model.name,
            request,
            inquiry.principal,
            plan,
            deadline,
            question=question,
            size=inquiry.size,
            received=inquiry.received,
            drawn=drawn,
        )

    def ask(self, snapshot: Snapshot, call: Call) -> Awaitable[Answer]:
        """One question, one answer. Raises INVALID at once for tensors that the first target is known not to take."""
        self._check(call)
        model = snapshot.models[call.model]
        answer = model.ask(call)
        return _of_version(model, call, answer) if call.request.version else answer

    async def stream(self, snapshot: Snapshot, call: Call) -> AsyncGenerator[Outcome, None]:
        """One question, any number of answers where the plan's one target can give them; else as `ask`."""
        model, target = snapshot.models[call.model], call.plan.stages[0].target
        if len(call.plan.stages) > 1 or not snapshot.streams(target):
            yield Outcome(_final(await self.ask(snapshot, _unary(call))), call.plan, snapshot.version)
            return
        self._check(call)
        try:
            async with aclosing(model.stream(replace(call, target=target))) as answers:
                async for answer in answers:
                    yield Outcome(answer, call.plan, snapshot.version)
        except InferenceError as error:
            if error.kind is ErrorKind.NOT_FOUND and call.request.version:
                raise _unheld(model, call) from error
            raise

    def _check(self, call: Call) -> None:
        target, version = call.plan.stages[0].target, call.request.version
        signature = self._signatures.get(target)
        if signature is None and version:  # a version that the policy leaves open: known if the backend serves no other
            served = self._signatures.get(replace(target, version=""))
            signature = served if served is not None and served.versions == (version,) else None
        if signature is not None:
            signature.check(call.request.inputs, call.request.outputs, call.model)

    async def ready(self, model: str, version: str, principal: Principal) -> bool:
        """Whether every variant that the model's routes may ask is ready; with a version, every one that serves it.

        Raises NOT_FOUND for a version that nobody serves, or that the policy keeps back.
        """
        snapshot = self.snapshot
        found = snapshot.model(model)
        demand(principal, found.name)
        deadline, doubtful = _soon(), bool(version) and not _pinned(found, version)
        targets = self._serving(found, version)
        states = await _together(_state(snapshot, target, doubtful, deadline) for target in targets)
        known = [state for state in states if state is not None]
        if not known:
            raise _unserved(found, version)
        return all(known)

    async def index(self, principal: Principal) -> list[dict[str, str]]:
        """The models that the principal may ask, and their aliases, as the repository index extension lists them."""
        snapshot, deadline = self.snapshot, _soon()
        mine = [model for model in snapshot.models.values() if permitted(principal, model.name)]
        targets = {target: index for index, target in enumerate(dict.fromkeys(each for model in mine for each in model.targets))}
        states = await _together(_state(snapshot, target, False, deadline) for target in targets)
        ready = {model.name: all(states[targets[each]] for each in model.targets) for model in mine}
        ready |= {alias: ready[name] for alias, name in snapshot.aliases.items() if name in ready}
        return [
            {"name": name, "version": "", "state": "READY" if state else "UNAVAILABLE", "reason": ""}
            for name, state in ready.items()
        ]

    async def describe(self, what: Description, name: str, version: str, principal: Principal) -> dict[str, Any]:
        """Metadata or configuration of the model's first variant, or all its variants' statistics, under the name asked for.

        With a version, of those that serve it. Statistics of no name are those of every model that the principal may ask and
        whose backends tell them. Raises INVALID, NOT_FOUND, FORBIDDEN and what the backends raise.
        """
        snapshot, deadline = self.snapshot, _soon()
        if what == "stats" and not name:
            mine = [model for model in snapshot.models.values() if permitted(principal, model.name)]
            told = await _together(_statistics_if_any(snapshot, model, deadline) for model in mine)
            return {"model_stats": [entry for each in told for entry in each]}
        model = snapshot.model(name)
        demand(principal, model.name)
        if what == "stats":
            entries = await _statistics(snapshot, model, self._serving(model, version), version, deadline)
            return {"model_stats": [{**entry, "name": name} for entry in entries]}
        for target in self._serving(model, version)[: None if version else 1]:
            found = await _described(snapshot, what, target, deadline)
            if found is not None:
                more = {"versions": self._versions(model, target, found)} if what == "metadata" else {}
                return {**found, **more, "name": name}
        raise _unserved(model, version)

    def _serving(self, model: Model, version: str) -> Sequence[Target]:
        """The model's targets; with a version those pinned to it, or else those that leave it open, asked for it.

        Raises INVALID for what cannot be a version, NOT_FOUND where nobody serves it or the policy keeps it back, UNAVAILABLE
        where that cannot be told yet.
        """
        if not version:
            return model.targets
        _check_version(model, version)
        pinned = _pinned(model, version)
        if pinned:
            return pinned
        verdicts = {target: self._allowed(model, target, version) for target in model.targets if not target.version}
        found = [replace(target, version=version) for target, verdict in verdicts.items() if verdict]
        if not found:
            raise _untold(model) if None in verdicts.values() else _unserved(model, version)
        return found

    def _permit(self, model: Model, target: Target) -> None:
        """As `_serving`, for the one target of a plan that is bound to the client's version."""
        verdict = target in model.targets or self._allowed(model, replace(target, version=""), target.version)
        if not verdict:
            raise _untold(model) if verdict is None else _unserved(model, target.version)

    def _allowed(self, model: Model, target: Target, version: str) -> bool | None:
        known = self._signatures.get(target)
        return allowed(model.versions, version, (known.versions or None) if known is not None else None)

    def _versions(self, model: Model, described: Target, metadata: Mapping[str, Any]) -> list[str]:
        """Every version that some variant answers with and clients may ask for, in the routes' order, as far as it is known."""
        found: list[str] = []
        for target in model.targets:
            known = self._signatures.get(target)
            if target.version:
                found.append(target.version)
            elif target.variant == described.variant:
                found.extend(offered(model.versions, metadata.get("versions", ())))
            elif known is not None:
                found.extend(offered(model.versions, known.versions))
        return list(dict.fromkeys(found))


async def _together(asks: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them give, in order. The first failure ends the others, and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask) for ask in asks]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _soon() -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + DESCRIBE_TIMEOUT)


async def _described(snapshot: Snapshot, what: Description, target: Target, deadline: Deadline) -> dict[str, Any] | None:
    """What the target's backend says of it; None if it knows no such model or version (Triton calls that INVALID in places)."""
    try:
        return await snapshot.clusters[target.backend].describe(what, target.model, target.version, deadline)
    except InferenceError as error:
        if error.kind in (ErrorKind.NOT_FOUND, ErrorKind.INVALID):
            return None
        raise


async def _statistics(
    snapshot: Snapshot, model: Model, targets: Sequence[Target], version: str, deadline: Deadline
) -> list[dict[str, Any]]:
    told = await _together(_described(snapshot, "stats", target, deadline) for target in targets)
    known = [each for each in told if each is not None]
    if not known or (len(known) < len(told) and not version):
        raise _unserved(model, version)
    return [entry for each in known for entry in each.get("model_stats", ())]


async def _statistics_if_any(snapshot: Snapshot, model: Model, deadline: Deadline) -> list[dict[str, Any]]:
    try:
        entries = await _statistics(snapshot, model, model.targets, "", deadline)
    except InferenceError:
        return []
    return [{**entry, "name": model.name} for entry in entries]


async def _state(snapshot: Snapshot, target: Target, doubtful: bool, deadline: Deadline) -> bool | None:
    """Whether the target is ready; None if its version is `doubtful` (not the policy's own) and its backend has none such."""
    try:
        if await snapshot.clusters[target.backend].ready(target.model, target.version, deadline):
            return True
        if doubtful and await _described(snapshot, "metadata", target, deadline) is None:
            return None
    except InferenceError:
        pass
    return False


async def _of_version(model: Model, call: Call, answer: Awaitable[Answer]) -> Answer:
    """The answer to a client that insists on a version; that its backend has none such is told in our own words."""
    try:
        return await answer
    except InferenceError as error:
        if error.kind is ErrorKind.NOT_FOUND:
            raise _unheld(model, call) from error
        raise


def _unary(call: Call) -> Call:
    """The call without a parameter that belongs to streams: Triton refuses it elsewhere."""
    parameters = {name: value for name, value in call.request.parameters.items() if name != "triton_enable_empty_final_response"}
    return replace(call, request=replace(call.request, parameters=parameters))


def _final(answer: Answer) -> Answer:
    """The only answer to a question of a stream, marked as Triton marks it: clients wait for this to know the end."""
    response = answer.response
    return replace(answer, response=replace(response, parameters={**response.parameters, "triton_final_response": True}))


def _unserved(model: Model, version: str) -> InferenceError:
    """What it means that a backend knows no such model or version: our outage, unless the client alone speaks of that version."""
    if version and not _pinned(model, version):
        message = f"model '{model.name}' has no version '{version}'"
        return InferenceError(ErrorKind.NOT_FOUND, message, source="client", reason="version")
    return InferenceError(ErrorKind.UNAVAILABLE, f"model '{model.name}' is not loaded at its backend", reason="not-loaded")


def _unheld(model: Model, call: Call) -> InferenceError:
    """The same for a question: a version that the policy names for another variant only is the client's word for this one."""
    version = call.request.version
    if not _pinned(model, version) or call.plan.stages[0].target in model.targets:
        return _unserved(model, version)
    message = f"version '{version}' is not served on route '{call.plan.route}'"
    return InferenceError(ErrorKind.NOT_FOUND, message, source="client", reason="version")


def _untold(model: Model) -> InferenceError:
    message = f"which versions of model '{model.name}' there are is not known yet: try again shortly, or ask without a version"
    return InferenceError(ErrorKind.UNAVAILABLE, message, reason="not-ready")


def _pinned(model: Model, version: str) -> list[Target]:
    return [target for target in model.targets if target.version == version]


def _check_version(model: Model, version: str) -> None:
    """Raises INVALID for what neither the policy names nor any backend could."""
    if not _VERSION.fullmatch(version) and not _pinned(model, version):
        raise invalid(f"that is no version of model '{model.name}': versions are whole numbers from 1, without a sign", "version")
