"""Scenes about who answers: the cascade row by row, tier, request, sticky split, fallback, a policy that changes under load."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from gateway.demo.client import Question, Reply
from gateway.demo.comparison import offline_cascade
from gateway.demo.expect import equal, true, until
from gateway.demo.policy import MODEL
from gateway.demo.processes import post
from gateway.demo.setting import Flow, Setting

CLOSE = 1e-5  # what the size of a batch may change in a float32 probability
TENANTS = [f"tenant-{number:03}" for number in range(100)]


def answered(setting: Setting, question: Question) -> Reply:
    """The reply over HTTP. Raises WrongError unless there is an answer."""
    reply = setting.http.ask(question)
    equal(f"status of a question to {question.model} ({reply.error})", 200, reply.status)
    return reply


def per_row(setting: Setting) -> str:
    """One batch of 32 in which every stage of the cascade keeps some rows."""
    offline = offline_cascade(setting)
    variants = [variant for variant, _ in setting.policy.stages()]
    starts = range(len(offline.stage) - 32)
    start = max(starts, key=lambda at: np.bincount(offline.stage[at : at + 32], minlength=len(variants)).min())
    rows = slice(start, start + 32)
    reply = answered(setting, setting.digits(rows))
    counts = Counter(variants[stage] for stage in offline.stage[rows])
    expected = ",".join(f"{variant}={counts[variant]}" for variant in variants if counts[variant])
    equal("X-Penstock-Variant of a batch", expected, reply.variant)
    equal("X-Penstock-Escalation of a batch", "→".join(variants), reply.headers["x-penstock-escalation"])
    off = float(np.abs(reply.outputs["probabilities"] - offline.probabilities[rows]).max())
    true("every row to be what its own model says of it", off < CLOSE, f"one is off by {off}")
    dearest = 32 * setting.policy.cost(variants[-1])
    return (
        f"one request of 32 rows, answered by {reply.variant}, each row in its place; cost {reply.cost:g} instead of {dearest:g}"
    )


def by_tier(setting: Setting) -> str:
    """The same digit under two keys."""
    question = setting.digits(slice(0, 1))
    dear = answered(setting, replace(question, headers=setting.credentials.enterprise))
    used = setting.policy.route("enterprise")["use"]
    equal("route and variant of the enterprise key", ("enterprise", used), (dear.headers["x-penstock-route"], dear.variant))
    plain = answered(setting, question)
    equal("route of the free key", "default", plain.headers["x-penstock-route"])
    cheap = setting.policy.stages()[0][0]
    return f"same digit, two API keys: tier enterprise → {used}, tier free → the cascade, from {cheap} up"


def by_request(setting: Setting) -> str:
    """Routes that look at the request's parameters and its number of rows."""
    preview = answered(setting, replace(setting.digits(slice(0, 1)), parameters={"preview": True}))
    wanted = setting.policy.route("preview")["use"]
    version = setting.policy.variants[wanted]["version"]
    seen = (preview.variant, preview.headers["x-model-version"])
    equal("variant and X-Model-Version of a preview", (wanted, version), seen)
    count = int(str(setting.policy.route("bulk")["match"]["rows"]).partition("..")[0])
    bulk = answered(setting, setting.digits(slice(0, count)))
    used = setting.policy.route("bulk")["use"]
    equal(f"route and variant of {count} rows", ("bulk", used), (bulk.headers["x-penstock-route"], bulk.variant))
    return f"parameter preview=true → {wanted} (model version {version}); {count} rows at once → {used}"


def sticky_split(setting: Setting) -> str:
    """Many tenants, each three times: twice over HTTP, once over gRPC."""
    weights: dict[str, float] = setting.policy.route("experiment")["split"]
    sides: Counter[str] = Counter()
    for tenant in TENANTS:
        token = setting.bearer(tenant=tenant)
        question = replace(setting.digits(slice(0, 1)), headers=token).having(x_experiment="1")
        seen = {answered(setting, question).variant for _ in range(2)} | {setting.grpc.ask(question).variant}
        equal(f"variants that answered {tenant}", 1, len(seen))
        sides.update(seen)
    total = sum(weights.values())
    for variant, weight in weights.items():
        share = weight / total
        spread = 4 * (share * (1 - share) / len(TENANTS)) ** 0.5  # four standard deviations of a fair split
        found = sides[variant] / len(TENANTS)
        true(f"{share:.0%} ± {spread:.0%} of the tenants at {variant}", abs(found - share) <= spread, f"{found:.0%}")
    ratio = "/".join(f"{weight:g}" for weight in weights.values())
    told = ", ".join(f"{sides[variant]} always get {variant}" for variant in weights)
    return f"{len(TENANTS)} tenants, three requests each by HTTP and gRPC: {told} (weights {ratio})"


def fallback(setting: Setting) -> str:
    """Triton really unloads the model while an enterprise client keeps asking."""
    variant = setting.policy.route("enterprise")["use"]
    model, instead = setting.policy.variants[variant]["model"], setting.policy.document["models"][MODEL]["fallback"][variant]
    question = replace(setting.digits(slice(0, 1)), headers=setting.credentials.enterprise)
    try:
        with Flow(setting, [question]) as flow:
            until(f"answers by {variant}", lambda: flow.since(0, lambda reply: reply.variant == variant))
            equal(f"Triton unloads {model}", 200, post(setting.triton.http, f"/v2/repository/models/{model}/unload")[0])
            until(f"a hundred answers by {instead}", lambda: sum(reply.variant == instead for reply in flow.replies) >= 100)
    finally:  # nobody asks meanwhile: Triton keeps questions to a model that is loading until it is loaded, seconds later
        loaded, _ = post(setting.triton.http, f"/v2/repository/models/{model}/load")
    equal(f"Triton loads {model}", 200, loaded)
    failed = [f"{reply.status} {reply.error}" for reply in flow.replies if reply.status != 200]
    equal("requests that failed when the model was unloaded", [], failed[:3])
    stood_in = sum(reply.variant == instead for reply in flow.replies)
    counted = setting.gateway.metric("penstock_fallbacks_total", model=MODEL, **{"from": variant, "to": instead})
    equal("penstock_fallbacks_total", stood_in, int(counted))
    equal("variant once the model is loaded again", variant, answered(setting, question).variant)
    return f"Triton unloads {model} under load: {instead} answers {stood_in} requests for it, 0 failed; loaded again: {variant}"


def reload(setting: Setting) -> str:
    """A changed policy and then a broken one, by SIGHUP, under requests that never stop."""
    to = list(setting.policy.route("experiment")["split"])[-1]
    gateway = setting.gateway
    questions = [
        replace(setting.digits(slice(0, 1)), headers=setting.bearer(tenant=tenant)).having(x_experiment="1")
        for tenant in TENANTS[:10]
    ]
    with Flow(setting, questions) as flow:
        until("answers", lambda: len(flow.replies) > 20)
        before = flow.replies[-1].headers["x-penstock-policy"]
        setting.policy.with_split("experiment", {to: 1}).write(gateway.policy)
        gateway.reload()
        until("another policy version", lambda: flow.replies[-1].headers.get("x-penstock-policy") != before)
        moved = len(flow.replies)
        until("twenty answers more", lambda: len(flow.replies) > moved + 20)
        gateway.policy.write_text("version: 1\nmodells: {}\n")
        gateway.reload()
        until("the broken policy refused", lambda: gateway.metric("penstock_policy_reloads_total", result="refused") == 1)
        refused = len(flow.replies)
        until("twenty answers more", lambda: len(flow.replies) > refused + 20)
    setting.policy.write(gateway.policy)
    failed = [f"{reply.status} {reply.error}" for reply in flow.replies if reply.status != 200]
    equal("requests that failed during reloads", [], failed[:3])
    equal(f"variants after the split became {to} alone", {to}, {reply.variant for reply in flow.replies[moved:]})
    versions = list(dict.fromkeys(reply.headers["x-penstock-policy"] for reply in flow.replies))
    equal("policy versions seen", 2, len(versions))
    arrow = " → ".join(version[:8] for version in versions)
    went = f"{len(flow.replies)} requests went on meanwhile, 0 failed"
    return f"SIGHUP: policy {arrow}, every tenant moves to {to}; a broken file is refused; {went}"
