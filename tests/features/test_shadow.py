"""Shadows over real sockets: the candidate is asked what somebody else answers, and nobody but the report is the wiser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.calibrate.rows import gather
from routing.shadow.tally import Ledger
from tests.features.conftest import Reply, ask, framed, packed, until
from tests.features.oip_server import Script, Waiting, failing, resetting
from tests.features.test_grpc import labels, question

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends:
  triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}
models:
  digits:
    timeout: 5s
    CACHE
    variants:
      live: {backend: triton, model: digits_fast, version: "1", cost: 1, pure: true}
      same: {backend: triton, model: digits_fast, version: "2", cost: 1, pure: true}
      other: {backend: triton, model: digits_accurate, cost: 40, pure: true}
    routes:
      - name: cascade
        match: {header: {x-use: cascade}}
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: live, accept: 0.9}, {use: other}]
      - {name: default, use: live}
    shadows: [{name: dark, fraction: 100%, SHADOW}]
"""
CACHE = "cache: {ttl: 1m}"


def policy(shadow: str = "of: live, to: same", cache: str = "") -> str:
    return POLICY.replace("SHADOW", shadow).replace("CACHE", cache)


def ledger(gate: Running) -> Ledger:
    """What the shadow has seen."""
    return next((each.ledger for each in gate.gateway.shadows.seen()), Ledger(""))


async def outcome(gate: Running, word: str, count: int = 1) -> Ledger:
    """Returns when so many mirrors have ended so."""
    await until(lambda: ledger(gate).outcomes.get(word, 0) >= count)
    return ledger(gate)


def versions(gate: Running) -> list[tuple[str, str]]:
    return sorted((each.model, each.version) for each in gate.backend.asked)


async def test_the_same_answers(start: Start) -> None:
    """One question: the candidate is asked, the primary twice, nothing differs, and the client has what it always had."""
    gate = await start(policy())
    plain = await gate.infer([3])
    found = await outcome(gate, "compared")
    assert [("digits_fast", "1"), ("digits_fast", "1"), ("digits_fast", "2")] == versions(gate)
    assert (200, "live", "1") == (plain.status, plain.headers["x-penstock-variant"], plain.headers["x-penstock-cost"])
    (tally,) = found.tallies
    assert (("1", "2"), 1, 1) == (tally.versions, tally.questions, tally.pairs)
    assert {"status", "outputs", "label", "probabilities"} == set(tally.fields)
    assert {0} == {each.differed + each.noisy for each in tally.fields.values()}
    metrics = await gate.metrics()
    assert 1 == metrics["penstock_shadow_total", ("digits/dark", "compared")]
    assert {1.0} == {value for (name, _), value in metrics.items() if name == "penstock_cost_total"}
    assert not [labels for name, labels in metrics if name.startswith("penstock_") and "same" in labels]


async def test_other_answers(start: Start) -> None:
    """Are counted by output, with the flipped labels, the caller's traits and the request's id."""
    gate = await start(policy("of: live, to: other, compare: {label: exact}"))
    await gate.infer([3], {"X-Request-Id": "q-1"})
    (tally,) = (await outcome(gate, "compared")).tallies
    assert {"103 → 303": 1} == tally.fields["label"].flips
    assert (1, 0) == (tally.fields["label"].worse, tally.fields["probabilities"].worse)
    (example,) = tally.examples
    assert ("q-1", {"label": "values"}, "acme", {}) == (
        example.request,
        example.fields,
        example.traits["tenant"],
        example.payload,
    )
    assert (1.0, 40.0, 1.0) == tally.costs


async def test_payloads_only_where_the_policy_allows(start: Start) -> None:
    """Then the report has the question and both answers."""
    gate = await start(policy("of: live, to: other, payloads: true"))
    await gate.infer([3])
    (example,) = (await outcome(gate, "compared")).tallies[0].examples
    assert ("[103]", "[303]") == (example.payload["primary label"], example.payload["candidate label"])


async def test_the_body_is_mirrored_whole(start: Start) -> None:
    """In the form it came in, for the candidate as for the primary."""
    gate = await start(policy())
    body, headers = packed(range(20))
    assert 200 == (await gate.ask("POST", "/v2/models/digits/infer", body, headers)).status
    await outcome(gate, "compared")
    assert 1 == len({each.tail for each in gate.backend.asked})


@pytest.mark.parametrize("script", [failing(500), resetting])
async def test_a_candidate_that_fails(start: Start, script: Script) -> None:
    """Is a difference in status; the client never hears of it."""
    gate = await start(policy("of: live, to: other"))
    gate.backend.scripts["digits_accurate"] = script
    assert 200 == (await gate.infer([3])).status
    (tally,) = (await outcome(gate, "error")).tallies
    assert {"status"} == set(tally.fields)
    assert 1 == tally.fields["status"].worse


async def test_a_candidate_that_hangs(start: Start) -> None:
    """Ends at the shadow's own deadline; meanwhile others wait in the queue, and what finds no place there is dropped."""
    gate = await start(policy("of: live, to: other, timeout: 300ms, max_in_flight: 1, queue: 1"))
    gate.backend.scripts["digits_accurate"] = hanging = Waiting()
    for _ in range(4):
        assert 200 == (await gate.infer([3])).status
    await hanging.entered.wait()
    found = await outcome(gate, "timeout")
    assert 2 == found.outcomes["queue-full"]


async def test_a_shadow_changes_no_limit_and_no_cache(start: Start) -> None:
    """A hit is not mirrored again, and what is kept is the primary's."""
    gate = await start(policy("of: live, to: other", CACHE) + "limits: [{requests: 2/h}]\n")
    first, second = await gate.infer([3]), await gate.infer([3])
    assert first.output("label") == second.output("label") == [103]
    assert "hit" in second.headers["cache-status"]
    await outcome(gate, "compared")
    assert 429 == (await gate.infer([3])).status
    assert {"compared": 1} == ledger(gate).outcomes


async def test_in_a_cascade_the_candidate_takes_the_variant_s_place(start: Start) -> None:
    """Where that was asked; a question that an earlier stage answered says nothing."""
    gate = await start(policy("of: other, to: same"))
    gate.backend.confidence["digits_fast"] = {4: 0.5}
    await gate.infer([3], {"x-use": "cascade"})
    assert 1 == (await outcome(gate, "not-asked")).outcomes["not-asked"]
    await gate.infer([4], {"x-use": "cascade"})
    (tally,) = (await outcome(gate, "compared")).tallies
    assert {"304 → 104": 1} == tally.fields["label"].flips


async def test_who_is_not_mirrored(start: Start) -> None:
    """Spared tenants, questions that must not be asked twice, and those whose version the client names."""
    gate = await start(policy("of: live, to: same, except: {tenant: bigco}"))
    await gate.infer([3], caller="enterprise")
    await gate.infer([3], {"Idempotency-Key": "once"})
    found = await outcome(gate, "not-repeatable")
    await gate.ask("POST", "/v2/models/digits/versions/1/infer", *packed([3]))
    assert {"spared": 1, "not-repeatable": 1} == found.outcomes
    assert 3 == len(gate.backend.asked)


async def test_a_budget_is_kept(start: Start) -> None:
    """In the policy's own cost, second asks included."""
    gate = await start(policy("of: live, to: other, budget: 30/d"))
    await gate.infer([3])
    await outcome(gate, "compared")
    for _ in range(2):
        await gate.infer([3])
    await outcome(gate, "budget", 2)
    assert {"compared": 1, "budget": 2} == ledger(gate).outcomes


async def test_a_reload_keeps_what_was_seen_unless_it_means_something_else(start: Start) -> None:
    """Another share of the questions changes nothing; another rule begins anew; without the shadow nothing is left."""
    gate = await start(policy())
    await gate.infer([3])
    await outcome(gate, "compared")
    await gate.reload(policy("of: live, to: same, queue: 5"))
    await gate.infer([3])
    assert 2 == (await outcome(gate, "compared", 2)).tallies[0].questions
    await gate.reload(policy("of: live, to: same, compare: {label: exact}"))
    await gate.infer([3])
    await until(lambda: {"compared": 1} == ledger(gate).outcomes)
    await gate.reload(policy().partition("    shadows")[0] + "    version_policy: all\n")
    assert [] == gate.gateway.shadows.seen()


async def test_a_gateway_that_stops_waits_for_no_mirror(start: Start) -> None:
    """It is cancelled, and its connection closed (the fixture sees to that)."""
    gate = await start(policy("of: live, to: other"))
    gate.backend.scripts["digits_accurate"] = hanging = Waiting()
    await gate.infer([3])
    await hanging.entered.wait()


async def test_what_the_report_says(start: Start) -> None:
    """Over the admin API, to operators only."""
    gate = await start(policy("of: live, to: other, compare: {label: exact}"))
    for row in range(3):
        await gate.infer([row])
    await outcome(gate, "compared", 3)

    async def report(caller: str) -> Reply:
        request = framed("GET", "/api/shadows/digits/dark", gate.credential(caller))
        return await ask(gate.gateway.ports.admin.port, request)

    assert 403 == (await report("free")).status
    found = (await report("admin")).json
    assert ("not enough", 3, 3, ["1", "1"]) == (found["verdict"], found["questions"], found["pairs"], found["versions"])
    assert {"label": 3} == {each["field"]: each["raw"]["value"] * 3 for each in found["fields"] if each["raw"]["value"]}


async def test_over_grpc(start: Start) -> None:
    """The same by the other protocol; what is compared are tensors, in whatever form they came."""
    gate = await start(policy("of: live, to: other"))
    metadata = tuple((name.lower(), value) for name, value in gate.credential("free").items())
    answer = await gate.stub().ModelInfer(question(3), metadata=metadata)
    assert [103] == labels(answer)
    (tally,) = (await outcome(gate, "compared")).tallies
    assert {"103 → 303": 1} == tally.fields["label"].flips


async def test_pairs_are_recorded_for_a_calibration(start: Start, tmp_path: Path) -> None:
    """Label and confidence of both answers, row by row, in the file that gateway.yaml names; nothing of the question."""
    record = "of: live, to: other, record: {metric: max-softmax, output: probabilities, label: label}"
    gate = await start(policy(record), telemetry=f"{{access_log: 'off', pairs: {{file: {tmp_path / 'pairs.jsonl'}}}}}")
    gate.backend.confidence["digits_fast"] = {1: 0.5}
    for number in range(50):
        await gate.infer([0, 1], {"X-Request-Id": f"q-{number}"})
    await outcome(gate, "compared", 50)
    await gate.gateway.shadows.close()
    found = gather([tmp_path / "pairs.jsonl"], {"live": "live", "other": "other"})
    assert ("dearest", 100, 50, {0.5, 0.99}) == (found.told, len(found.right), found.questions, set(found.score.round(2).ravel()))
    assert {"100", "101"} == set(found.label.ravel().tolist())
    assert not found.right[:, 0].any()  # these two never agree
