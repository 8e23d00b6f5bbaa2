"""Finds out whether a candidate may have weight: it is ready, takes and gives what the stable side does, and has been asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.errors import InferenceError
from backends.inference import InferenceRequest, Tensors, TensorSpec
from backends.signature import Signature, signature
from backends.tensors import BYTES, DTYPES, Tensor, elements
from gateway.rollout.words import Fitness
from routing.plan import Target

LOOK = 5.0  # seconds for one look
WARM = 30.0  # seconds that the first answer of a cold model may take
TIMES = 3  # questions, so that more than one instance and connection is warm


async def fitness(clusters: Mapping[str, Cluster], stable: Target, candidate: Target) -> tuple[Fitness, str]:
    """`fit`, `waiting` for what may come, or `unfit` for good; and why."""
    try:
        if not await clusters[candidate.backend].ready(candidate.model, candidate.version, _in(LOOK)):
            return "waiting", f"{candidate.variant} is not ready at its backend"
        old, new = [await _signature(clusters, target) for target in (stable, candidate)]
    except InferenceError as error:
        return "waiting", f"{candidate.variant} cannot be asked: {error.message}"
    if old is None or new is None:
        return "fit", "its backend does not say what it takes"
    if why := misfit(old, new):
        return "unfit", f"{candidate.variant} is no substitute for {stable.variant}: {why}"
    return await _warmed(clusters, new, stable, candidate)


def misfit(stable: Signature, candidate: Signature) -> str:
    """What the stable side takes or gives and the candidate does not; "" if nothing."""
    for name, wanted in stable.inputs.items():
        there = candidate.inputs.get(name)
        if there is None:
            return f"it has no input '{name}'"
        alike = len(there.shape) == len(wanted.shape) and all(
            new in (-1, old) for old, new in zip(wanted.shape, there.shape, strict=True)
        )
        if there.datatype != wanted.datatype or not alike:
            return f"its input '{name}' is {there.datatype} {list(there.shape)}, not {wanted.datatype} {list(wanted.shape)}"
    more = [name for name, there in candidate.inputs.items() if name not in stable.inputs and not there.optional]
    if more:
        return f"it also wants input '{more[0]}'"
    missing = [name for name in stable.outputs if candidate.outputs and name not in candidate.outputs]
    if missing:
        return f"it has no output '{missing[0]}'"
    if candidate.max_batch < stable.max_batch:
        return f"it takes {candidate.max_batch} rows at most, not {stable.max_batch}"
    return ""


def zeros(takes: Signature, target: Target) -> InferenceRequest:
    """The plainest question there is: one row of zeros, or of empty texts."""
    tensors, specs = [], []
    for name, each in takes.inputs.items():
        if each.optional:
            continue
        shape = tuple(1 if dim < 0 else dim for dim in each.shape)
        width = 4 if each.datatype == BYTES else DTYPES[each.datatype].itemsize  # an empty text is its length alone
        tensors.append(Tensor(name, each.datatype, shape, bytes(elements(shape, name) * width)))
        specs.append(TensorSpec(name, each.datatype, shape))
    return InferenceRequest(target.model, target.version, "warm-up", {}, tuple(specs), (), Tensors(tuple(tensors)))


async def _warmed(clusters: Mapping[str, Cluster], takes: Signature, stable: Target, candidate: Target) -> tuple[Fitness, str]:
    """A question of zeros may be nonsense to a model: only if the stable side takes it does a refusal say something."""
    for _ in range(TIMES):
        try:
            await clusters[candidate.backend].infer(zeros(takes, candidate), _in(WARM))
        except InferenceError as error:
            if await _answers(clusters, takes, stable):
                return "unfit", f"{candidate.variant} fails where {stable.variant} answers, asked with zeros: {error.message}"
            return "fit", "neither side answers a question of zeros"
    return "fit", ""


async def _answers(clusters: Mapping[str, Cluster], takes: Signature, target: Target) -> bool:
    try:
        await clusters[target.backend].infer(zeros(takes, target), _in(WARM))
    except InferenceError as error:
        error.ended()
        return False
    return True


async def _signature(clusters: Mapping[str, Cluster], target: Target) -> Signature | None:
    cluster = clusters[target.backend]
    metadata = await cluster.describe("metadata", target.model, target.version, _in(LOOK))
    return signature(metadata, await cluster.describe("config", target.model, target.version, _in(LOOK)))


def _in(seconds: float) -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + seconds)
