"""Scenes about answers that are given again, and answers that nobody is given: the cache, and the shadow of the next version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.demo.client import Reply
from gateway.demo.expect import equal, true, until
from gateway.demo.scenes_routing import answered
from gateway.demo.setting import Setting

REFERENCE = "digits-reference"
KNOWN, MORE = 32, 40  # rows
MIRRORED = range(MORE, MORE + 200)  # rows, each a question of its own; some twenty mirrors would be enough


def kept(setting: Setting) -> str:
    """The same rows in other words, among others, and by somebody else."""
    question = setting.digits(slice(0, KNOWN), REFERENCE)
    first = answered(setting, question)
    price = setting.policy.cost("accurate")
    equal("Cache-Status and cost of a new question", ("penstock; fwd=miss; stored", KNOWN * price), _status(first))
    for name, again in (("JSON", answered(setting, replace(question, form="json"))), ("gRPC", setting.grpc.ask(question))):
        true(f"a hit by {name}", again.headers.get("cache-status", "").startswith("penstock; hit; ttl="), again.headers)
        equal(f"its cost by {name}", 0, again.cost)
        for output, given in first.outputs.items():
            equal(f"'{output}' by {name} bit for bit", given.tobytes(), again.outputs[output].tobytes())
    part = answered(setting, setting.digits(slice(0, MORE), REFERENCE))
    expected = (f'penstock; fwd=partial; stored; detail="{KNOWN} of {MORE} rows"', (MORE - KNOWN) * price)
    equal(f"Cache-Status and cost of {MORE} rows", expected, _status(part))
    other = answered(setting, replace(question, headers=setting.bearer(tenant="initech")))
    equal("Cache-Status and cost for another tenant", _status(first), _status(other))
    return (
        f"{KNOWN} digits, cost {first.cost:g}; again as JSON and by gRPC: kept, cost 0, bit for bit; {MORE} with these among "
        f"them: {MORE - KNOWN} are asked; another tenant is given none of it"
    )


def _status(reply: Reply) -> tuple[str, float]:
    return reply.headers.get("cache-status", ""), reply.cost


def mirrored(setting: Setting) -> str:
    """A share of new questions, until the report knows; whoever asked has paid for one answer."""
    questions = [setting.digits(slice(row, row + 1), REFERENCE) for row in MIRRORED]
    equal("costs", {setting.policy.cost("accurate")}, {answered(setting, question).cost for question in questions})
    rows = iter(range(MIRRORED.stop, len(setting.held_out.images)))

    def judged() -> bool:
        """On a busy machine mirrors are dropped, and more are needed."""
        if _report(setting)["verdict"] == "different":
            return True
        row = next(rows, None)
        if row is not None:
            questions.append(setting.digits(slice(row, row + 1), REFERENCE))
            answered(setting, questions[-1])
        return False

    until("a verdict on the shadow", judged, 30.0)
    report = _report(setting)
    fields = {each["field"]: each for each in report["fields"]}
    equal("whether probabilities differ", "different", fields["probabilities"]["verdict"])
    return (
        f"accurate-v2 is asked {report['mirrored']} of {len(questions)} questions as well, and answers nobody; the report's "
        f"verdict: {report['verdict']} in {', '.join(name for name, each in fields.items() if each['verdict'] == 'different')}"
    )


def _report(setting: Setting) -> Any:
    return setting.gateway.api(f"/api/shadows/{REFERENCE}/v2-dark", setting.bearer(scope="models:admin"))
