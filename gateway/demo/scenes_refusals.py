"""Scenes about what is not answered, and how the client is told: credentials, permissions, bad questions, deadlines, limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gateway.demo.credentials import Issuer
from gateway.demo.expect import equal, true
from gateway.demo.policy import ALWAYS
from gateway.demo.setting import Setting


def _asks_sent(setting: Setting) -> float:
    """How many requests the gateway has sent to Triton so far."""
    return setting.gateway.metric("penstock_backend_requests_total")


def credentials(setting: Setting) -> str:
    """Everybody who must stay out, over both transports."""
    key = setting.credentials.free["x-api-key"]
    strangers: dict[str, Mapping[str, str]] = {
        "no credential": {},
        "a wrong key": {"x-api-key": key[:-1] + ("0" if key[-1] != "0" else "1")},
        "an expired token": setting.credentials.issuer.bearer(seconds=-3600),
        "a forged token": Issuer().bearer(),
    }
    before = _asks_sent(setting)
    for name, headers in strangers.items():
        question = replace(setting.digits(slice(0, 1)), headers=headers)
        reply = setting.http.ask(question)
        equal(f"HTTP status with {name}", 401, reply.status)
        true(
            f"an error that does not repeat {name}",
            all(value.split()[-1] not in reply.error for value in headers.values()),
            reply.error,
        )
        equal(f"gRPC status with {name}", "UNAUTHENTICATED", setting.grpc.ask(question).status)
    other = replace(setting.digits(slice(0, 1)), headers=setting.bearer(scope="models:infer:simple"))
    equal("status with a token for another model", 403, setting.http.ask(other).status)
    equal("requests that reached Triton", before, _asks_sent(setting))
    return f"{', '.join(strangers)} → 401; a token whose scope is another model → 403; by gRPC alike"


def bad_questions(setting: Setting) -> str:
    """Questions that no model could answer, told by the gateway itself."""
    good = setting.digits(slice(0, 2))
    image = setting.held_out.images[:2]
    wrong = {
        "shape": replace(good, inputs={"image": image[:, :63]}),
        "datatype": replace(good, inputs={"image": image.astype(np.float64)}),
        "input name": replace(good, inputs={"picture": image}),
    }
    before = _asks_sent(setting)
    replies = {name: setting.http.ask(question) for name, question in wrong.items()}
    for name, reply in replies.items():
        equal(f"status for a wrong {name}", 400, reply.status)
    unknown = setting.http.ask(replace(good, model="no_such_model"))
    equal("status for an unknown model", 404, unknown.status)
    equal("requests that reached Triton", before, _asks_sent(setting))
    message = replies["shape"].error
    true("a message with what came and what was expected", "[2, 63]" in message and "[-1, 64]" in message, message)
    return f"wrong {', '.join(wrong)} → 400, unknown model → 404, before Triton is asked: “{message}”"


def deadline(setting: Setting) -> str:
    """Less time than the dearest model needs for a full batch."""
    dearest = setting.policy.stages()[-1][0]
    slow = setting.digits(slice(0, 128), ALWAYS + dearest)
    equal("status with time enough", 200, setting.http.ask(slow).status)
    replies = [setting.http.ask(slow.having(x_request_timeout_ms="2")) for _ in range(3)]
    equal("statuses of 128 rows within 2 ms", {504}, {reply.status for reply in replies})
    reply = min(replies, key=lambda reply: reply.seconds)  # of three: the machine itself may stand still for so long
    true("the answer at once", reply.seconds < 0.5, f"{reply.seconds:.3f} s")
    reason = reply.headers["x-penstock-error"]
    true("X-Penstock-Error: deadline, or no-time where it was not even begun", reason in ("deadline", "no-time"), reason)
    return f"X-Request-Timeout-Ms: 2 for 128 rows of {dearest} → 504 after {reply.seconds * 1000:.0f} ms"


def limited(setting: Setting) -> str:
    """One trial tenant asks more than the policy lets it; another asks meanwhile."""
    limit = next(each for each in setting.policy.checked.limits if each.name == "trial")
    assert limit.requests is not None
    assert limit.burst is not None
    greedy, modest = (setting.bearer(tenant=tenant, tier="trial") for tenant in ("hooli", "initech"))
    question = replace(setting.digits(slice(0, 1), ALWAYS + setting.policy.stages()[0][0]), headers=greedy)  # one ask each
    before, start = _asks_sent(setting), time.monotonic()
    replies = [setting.http.ask(question) for _ in range(2 * limit.burst)]
    allowed = limit.burst + limit.requests.per_second * (time.monotonic() - start) + 1
    answered = sum(reply.status == 200 for reply in replies)
    equal("statuses", {200, 429}, {reply.status for reply in replies})
    true(f"from {limit.burst} to {allowed:.0f} answers", limit.burst <= answered <= allowed, str(answered))
    refused = next(reply for reply in replies if reply.status == 429)
    true("when to come back", int(refused.headers["retry-after"]) >= 1, refused.headers["retry-after"])
    equal("requests that reached Triton", before + answered, _asks_sent(setting))
    equal("another tenant's status", 200, setting.http.ask(replace(question, headers=modest)).status)
    return (
        f"a trial tenant asks {len(replies)} times at once: {answered} answers, {len(replies) - answered} times 429 with "
        f"Retry-After, before Triton is asked; another tenant is answered"
    )
