"""Makes the routing's values of a model's checked shadows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from gateway.configuration import schema_policy as policy
from gateway.configuration import schema_shadows as schema
from routing.plan import Target
from routing.shadow.compare import Rule
from routing.shadow.compare_trees import place
from routing.shadow.shadows import Record, Shadow


def shadows_of(model: policy.Model, targets: Mapping[str, Target]) -> tuple[tuple[Shadow, Target], ...]:
    """In the document's order, each with its candidate."""
    return tuple((_shadow(shadow, targets), targets[shadow.to]) for shadow in model.shadows)


def _shadow(shadow: schema.Shadow, targets: Mapping[str, Target]) -> Shadow:
    spared, budget = shadow.spared or schema.Except(), shadow.budget
    made = Shadow(
        name=shadow.name,
        of=shadow.of or "",
        to=shadow.to,
        fraction=shadow.fraction,
        noise=shadow.noise,
        margin=shadow.margin,
        alpha=shadow.alpha,
        timeout=shadow.timeout,
        in_flight=shadow.max_in_flight,
        queue=shadow.queue,
        budget=None if budget is None else (budget.units, budget.per_second),
        payloads=shadow.payloads,
        tenants=frozenset(spared.tenant),
        tiers=frozenset(spared.tier),
        rules=tuple((output, rule_of(rule)) for output, rule in sorted(shadow.compare.items())),
        route=shadow.route or "",
        record=None if shadow.record is None else _record(shadow.record),
    )
    asked = [msgspec.structs.astuple(targets[name])[:4] for name in (shadow.of, shadow.to) if name]
    what = msgspec.json.encode((shadow.of, shadow.route, asked, shadow.compare), order="sorted")
    return replace(made, epoch=hashlib.sha256(what).hexdigest()[:16])


def _record(record: schema.Record) -> Record:
    metric, _, name = record.metric.partition(":")
    if metric == "output":
        return Record(name, metric, label=record.label or "")
    path = name if metric == "json" else record.path
    return Record(record.output or "", metric, record.logits, None if path is None else place(path), record.label or "")


def rule_of(rule: schema.Compare) -> Rule:
    """What an output may differ by."""
    return Rule(
        exact=rule.exact,
        ignore=rule.ignore,
        atol=rule.atol,
        rtol=rule.rtol,
        label=rule.label,
        top=rule.top or Rule().top,
        overlap=rule.overlap,
        rbo=rule.rbo,
        variation=rule.total_variation,
        divergence=rule.jensen_shannon,
        cosine=rule.cosine,
        similarity=rule.similarity,
        places=None if rule.json is None else tuple((at, rule_of(each)) for at, each in sorted(rule.json.items())),
    )
