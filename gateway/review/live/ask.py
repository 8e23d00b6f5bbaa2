"""Asks a policy's backends what they have, all side by side and within one timeout, for `penstock policy check --live`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.endpoint import Endpoint
from backends.errors import ErrorKind, InferenceError
from backends.inference import Backend, Repository
from gateway.configuration.schema_policy import PolicyDocument
from gateway.review.live.served import Heard, Missing, ModelVersion, Served, Unheard, served

AT_ONCE = 8  # questions at one endpoint: its clients come first
TELL_AFTER = 2.0  # seconds before somebody is told who is being waited for
_Time = tuple[float, Deadline]  # seconds in all, and their end
Waiting = Callable[[Sequence[str]], None]  # told the addresses that have not answered yet


async def ask(
    document: PolicyDocument, clusters: Mapping[str, Cluster], seconds: float, waiting: Waiting, patience: float = TELL_AFTER
) -> tuple[Heard, ...]:
    """What every endpoint says of every model that the policy asks it for, in the document's order, within so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop.time() + seconds)
    wanted = _wanted(document)
    tasks: dict[str, asyncio.Task[Heard]] = {}
    alarm = loop.call_later(patience, lambda: waiting([address for address, task in tasks.items() if not task.done()]))
    try:
        async with asyncio.TaskGroup() as group:
            for name, backend in document.backends.items():
                for index, endpoint in enumerate(clusters[name].endpoints):
                    question = _Question((name, index), backend.protocol, endpoint, (seconds, deadline))
                    tasks[f"{endpoint.address} ({name})"] = group.create_task(question.ask(wanted[name]))
    finally:
        alarm.cancel()
        await asyncio.gather(*(cluster.close() for cluster in clusters.values()))
    return tuple(task.result() for task in tasks.values())


def _wanted(document: PolicyDocument) -> dict[str, list[ModelVersion]]:
    """Which models of each backend the policy names, each once."""
    wanted: dict[str, dict[ModelVersion, None]] = {name: {} for name in document.backends}
    for model in document.models.values():
        for variant in model.variants.values():
            wanted[variant.backend][variant.model, variant.version] = None
    return {name: list(models) for name, models in wanted.items()}


class _Question:
    """Everything that is asked of one endpoint."""

    def __init__(self, place: tuple[str, int], protocol: str, endpoint: Endpoint, time: _Time) -> None:
        self._place = (*place, endpoint.address)
        self._protocol = protocol
        self._backend: Backend = endpoint.backend
        self._seconds, self._deadline = time
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def ask(self, models: Collection[ModelVersion]) -> Heard:
        """The server first: one that cannot be reached is not asked for its models."""
        try:
            ready = await self._backend.ready("", "", self._deadline)
        except InferenceError as error:
            return Heard(*self._place, self._why(error))
        async with asyncio.TaskGroup() as group:
            asked = {model: group.create_task(self._model(*model)) for model in models}
        found = {model: task.result() for model, task in asked.items()}
        # A Triton that is not ready because a model of others is not must not count against this policy.
        there = ready or any(isinstance(word, Served) and word.ready for word in found.values())
        return Heard(*self._place, None if there else f"{self._place[2]} answers, but is not ready", found if there else {})

    async def _model(self, model: str, version: str) -> Served | Missing | Unheard:
        try:
            async with asyncio.timeout_at(self._deadline.at), self._turn:
                return await self._described(model, version)
        except TimeoutError:
            return Unheard(self._late())
        except InferenceError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                return Unheard(self._why(error))
        return await self._missing(model, version)

    async def _described(self, model: str, version: str) -> Served:
        metadata = await self._backend.describe("metadata", model, version, self._deadline)
        try:
            config = await self._backend.describe("config", model, version, self._deadline)
        except InferenceError as error:
            if error.kind not in (ErrorKind.NOT_FOUND, ErrorKind.UNSUPPORTED):
                raise
            config = None  # an extension that only Triton has
        return served(metadata, config, await self._backend.ready(model, version, self._deadline))

    async def _missing(self, model: str, version: str) -> Missing | Served:
        """Whether it is the version that is missing, or the model; one that is only not described may be ready all the same."""
        try:
            if await self._backend.ready(model, version, self._deadline):
                return Served(True)
            metadata = await self._backend.describe("metadata", model, "", self._deadline) if version else {}
        except InferenceError:
            metadata = {}
        versions = metadata.get("versions")
        if versions and isinstance(versions, list):
            return Missing(tuple(map(str, versions)))
        try:
            return Missing(others=await self._backend.models(self._deadline) if isinstance(self._backend, Repository) else ())
        except InferenceError:
            return Missing()

    def _why(self, error: InferenceError) -> str:
        if error.kind is ErrorKind.UNAVAILABLE:
            return f"nobody answers at {self._place[2]} over {self._protocol}"
        return self._late() if error.kind is ErrorKind.DEADLINE else f"{self._place[2]} cannot be asked: {error.message}"

    def _late(self) -> str:
        return f"{self._place[2]} did not answer within {self._seconds:g} s"
