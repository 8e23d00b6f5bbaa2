"""Puts the layers round the core in their one right order; a wrong order is a security bug, so nobody can choose it.

deadline outermost: nothing escapes it. authorize before cache: no hit for a stranger. limit before cache: a quota counts
questions. cache before budget: what is kept costs nothing. budget before coalesce: who asks for others reserves for himself.
cache before coalesce: a hit waits for nobody. coalesce before shadow: one real call, one mirror. shadow before cascade: the
question is mirrored, not each tier. audit within the shadow: what it asks is nobody's question and has no mirror. audit before
cascade: only the whole answer says which rows were kept. fallback within the cascade: it stands in for one target, whoever
chose it. rollout innermost: it counts what the variant itself did, whoever saved the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import Backend, InferenceResponse
from policies.call import Answer, Ask, Call, Ending, Observer, Policy, Share, translated
from policies.spending import Ended, spent, with_tokens, without_tokens
from routing.cost import Costs
from routing.plan import Plan

Clock = Callable[[], float]

# In the one right order, each layer with whether it does anything to a plan's calls. `_never`: no plan can ask for it so far.
_always, _never = lambda _: True, lambda _: False
_EFFECTS: Mapping[str, Callable[[Plan], bool]] = {
    "deadline": _always,
    "authorize": _always,
    "limit": _never,  # but for some principals: no plan says whose
    "cache": lambda plan: plan.cache is not None,
    "budget": _never,  # as of limits
    "coalesce": lambda plan: plan.cache is not None,
    "shadow": lambda plan: bool(plan.mirrors),
    "audit": lambda plan: plan.audit is not None,
    "cascade": lambda plan: len(plan.stages) > 1,
    "fallback": lambda plan: bool(plan.fallback),
    "rollout": _never,  # but while one is under way: no plan says so
}
ORDER = tuple(_EFFECTS)


def effective(plan: Plan, counted: Collection[str] = ()) -> tuple[str, ...]:
    """The layers that do anything to this plan's calls, outermost first; `counted`: of `limit` and `budget` those that do."""
    return tuple(layer for layer, works in _EFFECTS.items() if works(plan) or layer in counted)


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


def core(clusters: Mapping[str, Backend], observer: Observer, clock: Clock, costs: Costs | None = None) -> Ask:
    """The innermost ask: the target's own cluster, timed, priced and told to the observer in each of its three endings.

    A target's own timeout shortens the deadline of this one ask; what it leaves of the call's is for a fallback. An error tells
    what was paid in vain.
    """
    return _Core(clusters, observer, clock, costs or Costs()).ask


class _Core:
    def __init__(self, clusters: Mapping[str, Backend], observer: Observer, clock: Clock, costs: Costs) -> None:
        self._clusters = clusters
        self._observer = observer
        self._clock = clock
        self._costs = costs

    async def ask(self, call: Call) -> Answer:
        target, bill, rows = call.target, call.bill, call.request.rows or 1
        assert target is not None, "a layer above chooses the target"
        unit = call.principal.tenant or call.principal.subject
        sent: list[float] = []
        request = replace(call.request, model=target.model, version=target.version, unit=unit, sent=sent)
        start, outcome = self._clock(), "abandoned"
        deadline = call.deadline.hop(start)
        if target.timeout is not None:
            deadline = deadline.within(target.timeout, start)
        if target.price is not None:
            request = with_tokens(request, target.price)
        if bill is not None:
            bill.asked()
        response: InferenceResponse | None = None
        told: InferenceError | None = None
        try:
            response = await self._clusters[target.backend].infer(request, deadline)
            outcome = "ok"
        except InferenceError as error:
            outcome = error.kind.value
            told = translated(error, call)
            if told is error:
                raise
            raise told from error
        finally:
            now = self._clock()
            if outcome == "ok" and target.price is None and bill is None and len(sent) < 2:  # nearly always
                cost = target.cost * rows
                self._observer.asked(call.model, target, Ending(rows, now - start, outcome, cost))
            else:
                cost = self._paid(call, rows, Ended(outcome, response, sent, start, now))
                if told is not None:
                    told.cost, told = cost, None  # else it would hold this frame, and the frame it
        if target.price is not None:
            response = without_tokens(response, call.request, target.price)
        share = Share(target.variant, rows, response.model or target.model, response.version)
        return Answer(response, (share,), cost, now - start)

    def _paid(self, call: Call, rows: int, ended: Ended) -> float:
        """What is on the question's bill."""
        target, outcome = call.target, ended.outcome
        assert target is not None
        if outcome == "abandoned" and ended.now >= call.deadline.at:
            outcome = ErrorKind.DEADLINE.value  # the deadline's layer gave it up, not the client
        own, beside = spent(self._costs, call.model, target, rows, ended)
        self._observer.asked(call.model, target, Ending(rows, ended.now - ended.start, outcome, own + beside))
        if call.bill is not None:
            call.bill.pay(own)
        return own
