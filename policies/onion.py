"""Puts the layers round the core in their one right order; a wrong order is a security bug, so nobody can choose it.

deadline outermost: nothing escapes it. authorize before cache: no hit for a stranger. limit before cache: a quota counts
questions. cache before coalesce: a hit waits for nobody. coalesce before shadow: one real call, one mirror. shadow before
cascade: the question is mirrored, not each tier. fallback within it: it stands in for one target, whoever chose it. rollout
innermost: it counts what the variant itself did, whoever saved the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import Backend
from policies.call import Answer, Ask, Call, Observer, Policy, Share, translated
from routing.plan import Plan

Clock = Callable[[], float]

# In the one right order, each layer with whether it does anything to a plan's calls. `_never`: no plan can ask for it so far.
_always, _never = lambda _: True, lambda _: False
_EFFECTS: Mapping[str, Callable[[Plan], bool]] = {
    "deadline": _always,
    "authorize": _always,
    "limit": _never,  # but for some principals: no plan says whose
    "cache": lambda plan: plan.cache is not None,
    "coalesce": lambda plan: plan.cache is not None,
    "shadow": lambda plan: bool(plan.mirrors),
    "cascade": lambda plan: len(plan.stages) > 1,
    "fallback": lambda plan: bool(plan.fallback),
    "rollout": _never,  # but while one is under way: no plan says so
}
ORDER = tuple(_EFFECTS)


def effective(plan: Plan, limited: bool = False) -> tuple[str, ...]:
    """The layers that do anything to this plan's calls, outermost first; `limited`: to those of whom a limit binds."""
    return tuple(layer for layer, works in _EFFECTS.items() if works(plan) or (layer == "limit" and limited))


def onion(layers: Mapping[str, Policy], core: Ask) -> Ask:
    """The core inside the given layers. Places of ORDER that nobody fills cost nothing; an unknown name is a defect."""
    unknown = set(layers) - set(ORDER)
    if unknown:
        raise ValueError(f"no place in the onion for {sorted(unknown)}")
    ask = core
    for name in reversed(ORDER):
        if name in layers:
            ask = _around(layers[name], ask)
    return ask


def _around(policy: Policy, ask: Ask) -> Ask:
    return lambda call: policy(call, ask)


def core(clusters: Mapping[str, Backend], observer: Observer, clock: Clock) -> Ask:
    """The innermost ask: the target's own cluster, timed, priced and told to the observer in each of its three endings.

    A target's own timeout shortens the deadline of this one ask; what it leaves of the call's is for a fallback.
    """

    async def ask(call: Call) -> Answer:
        target = call.target
        assert target is not None, "a layer above chooses the target"
        unit = call.principal.tenant or call.principal.subject
        request = replace(call.request, model=target.model, version=target.version, unit=unit)
        rows = call.request.rows or 1
        start, outcome = clock(), "abandoned"
        deadline = call.deadline.hop(start)
        if target.timeout is not None:
            deadline = deadline.within(target.timeout, start)
        try:
            response = await clusters[target.backend].infer(request, deadline)
            outcome = "ok"
        except InferenceError as error:
            outcome = error.kind.value
            told = translated(error, call)
            if told is error:
                raise
            raise told from error
        finally:
            now = clock()
            seconds = now - start
            if outcome == "abandoned" and now >= call.deadline.at:
                outcome = ErrorKind.DEADLINE.value  # the deadline's layer gave it up, not the client
            observer.asked(call.model, target, rows, seconds, outcome)
        share = Share(target.variant, rows, response.model or target.model, response.version)
        return Answer(response, (share,), target.cost * rows, seconds)

    return ask
