"""Scenes about a policy before it serves: what is foretold is what happens, and its own tests notice what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

from gateway.configuration.schema_tests import Caller, Request
from gateway.configuration.tables import route_tables
from gateway.demo.expect import equal
from gateway.demo.policy import MODEL
from gateway.demo.scenes_routing import TENANTS, answered
from gateway.demo.setting import Setting
from gateway.review.explain import explain
from gateway.review.mutate import examine


def explained(setting: Setting) -> str:
    """Callers of every route; what `penstock policy explain` says of each beside the answer's own headers."""
    document = setting.policy.checked
    one, many = setting.digits(slice(0, 1)), setting.digits(slice(0, 64))
    asked = [
        (one, Request(MODEL, Caller("demo", "acme", "free"))),
        (replace(one, headers=setting.credentials.enterprise), Request(MODEL, Caller("demo", "acme", "enterprise"))),
        (
            replace(one, parameters={"preview": True}),
            Request(MODEL, Caller("demo", "acme", "free"), parameters={"preview": True}),
        ),
        (many, Request(MODEL, Caller("demo", "acme", "free"), rows=64)),
    ]
    for tenant in TENANTS[:20]:
        question = replace(one, headers=setting.bearer(tenant=tenant)).having(x_experiment="1")
        asked.append((question, Request(MODEL, Caller(tenant=tenant), headers={"x-experiment": "1"})))
    routes = set[str]()
    for question, request in asked:
        (course,) = explain(document, request).answers
        reply = answered(setting, question)
        variant = reply.variant if len(course.asked) == 1 else course.asked[0].variant
        equal(
            f"route and first variant, as explained for {request}",
            (course.route, course.asked[0].variant),
            (reply.headers["x-penstock-route"], variant),
        )
        routes.add(course.route)
    return f"{len(asked)} requests over {len(routes)} routes, sides of the split included: each answered as `explain` had said"


def noticed(setting: Setting) -> str:
    """Every rule of the policy made wrong in small ways; some test of its own must fail each time."""
    document = setting.policy.checked
    about = {test.request.model for test in document.tests} | {""}  # limits, too; other models are the demo's own
    rules = [rule for rule in examine(document, route_tables(document)) if rule.model in about]
    equal("mutants that no test notices", [], [survivor.said for rule in rules for survivor in rule.survivors])
    mutants = sum(rule.mutants for rule in rules)
    return f"{len(document.tests)} tests in the policy itself; {mutants} small mistakes in its {len(rules)} rules, each noticed"
