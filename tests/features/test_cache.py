"""A model's cache: equal questions are answered once, in whatever dialect, whole or row by row, and to their own tenant only."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.features.conftest import ask, framed, packed
from tests.features.oip_server import Waiting, failing

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    cache: {ttl: 10m}
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
    routes:
      - {name: enterprise, match: {tier: enterprise}, use: accurate}
      - {name: default, use: fast}
"""
ROWS = POLICY.replace("ttl: 10m", "ttl: 10m, rows: true")
CASCADE = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    cache: {ttl: 10m, rows: true}
    variants:
      fast: {backend: triton, model: digits_fast, cost: 1}
      accurate: {backend: triton, model: digits_accurate, cost: 40}
    routes:
      - name: default
        cascade:
          confidence: {output: probabilities, metric: max-softmax}
          stages: [{use: fast, accept: 0.9}, {use: accurate}]
"""


def asked(gate: Running) -> list[tuple[str, list[int]]]:
    return [(each.model, each.rows) for each in gate.backend.asked]


async def test_an_equal_question_is_answered_from_the_cache(start: Start) -> None:
    """The second costs nothing, asks nobody, says so, and is the same but for its own id."""
    gate = await start(POLICY)
    first, second = await gate.infer([1, 2], id="one"), await gate.infer([1, 2], id="two")
    assert [("digits_fast", [1, 2])] == asked(gate)
    assert ("penstock; fwd=miss; stored", "2") == (first.headers["cache-status"], first.headers["x-penstock-cost"])
    assert "penstock; hit; ttl=" == second.headers["cache-status"][:19]
    assert ("0", "fast") == (second.headers["x-penstock-cost"], second.headers["x-penstock-variant"])
    assert ("one", "two") == (first.json["id"], second.json["id"])
    assert first.json["outputs"] == second.json["outputs"]
    metrics = await gate.metrics()
    assert (1, 1) == tuple(metrics["penstock_cache_requests_total", ("digits", each)] for each in ("miss", "hit"))
    assert metrics["penstock_cache_bytes", ()] > 0


@pytest.mark.parametrize("policy", [POLICY, ROWS])
async def test_what_comes_again_and_again_is_told_as_it_stands(start: Start, policy: str) -> None:
    """However often a question was answered from the cache: what was purged is asked, another's is another's, a new policy's
    answer is its own, and what a request says beside its body is heard."""
    gate = await start(policy)

    async def course(**more: Any) -> list[str]:
        replies = [await gate.infer([1, 2], id="mine", **more) for _ in range(4)]
        assert {200} == {each.status for each in replies}
        assert 1 == len({json.dumps(each.json) for each in replies})
        assert 4 == len({each.headers["x-request-id"] for each in replies})
        return [*["miss" if "miss" in each.headers["cache-status"] else "hit" for each in replies], replies[0].output("label")[0]]

    fast = await course()
    assert ["miss", "hit", "hit", "hit"] == fast[:4]
    assert fast == await course(caller="digits-only")
    assert fast == await course(headers={"X-Model-Version": "1"})
    assert ["hit"] * 4 == (await course(headers={"Accept-Encoding": "identity"}))[:4]
    purge = framed("POST", "/api/cache/purge", gate.credential("admin"), b'{"model": "digits"}')
    assert 200 == (await ask(gate.gateway.ports.admin.port, purge)).status
    assert fast == await course()
    await gate.reload(policy.replace("{name: default, use: fast}", "{name: default, use: accurate}"))
    accurate = await course()
    assert ["miss", "hit", "hit", "hit"] == accurate[:4]
    assert fast[4] != accurate[4]
    assert ["hit"] * 4 == (await course())[:4]
    no_cache = await gate.infer([1, 2], id="mine", headers={"Cache-Control": "no-cache"})
    assert "penstock; fwd=request; stored" == no_cache.headers["cache-status"]
    assert (403, "forbidden") == (await gate.infer([1, 2], id="mine", caller="admin")).error


async def test_another_question_is_not(start: Start) -> None:
    """Other rows, another order of rows, other outputs, other parameters, another version: each is asked on its own."""
    gate = await start(POLICY)
    await gate.infer([1, 2])
    await gate.infer([2, 1])
    await gate.infer([1, 2], outputs=[{"name": "label"}])
    await gate.infer([1, 2], parameters={"seed": 1})
    await gate.infer([1, 2], parameters={"seed": True})
    await gate.infer([1, 2], headers={"X-Model-Version": "1"})
    assert 6 == len(gate.backend.asked)


async def test_tenants_have_caches_of_their_own(start: Start) -> None:
    """One tenant's answer is no other's, even on the same route; with `shared: true` it is."""
    gate = await start(POLICY)
    await gate.infer([1], caller="free")
    await gate.infer([1], caller="digits-only")
    assert 2 == len(gate.backend.asked)
    await gate.reload(POLICY.replace("ttl: 10m", "ttl: 10m, shared: true"))
    await gate.infer([1], caller="free")
    assert "hit" in (await gate.infer([1], caller="digits-only")).headers["cache-status"]
    assert 3 == len(gate.backend.asked)
    await gate.infer([1], caller="enterprise")  # of the other route
    assert "digits_accurate" == gate.backend.asked[-1].model


async def test_no_hit_for_a_stranger(start: Start) -> None:
    """Who may not ask the model is not answered from what others have asked, shared as it may be."""
    gate = await start(POLICY.replace("ttl: 10m", "ttl: 10m, shared: true"))
    assert 200 == (await gate.infer([1])).status
    assert (403, "forbidden") == (await gate.infer([1], caller="admin")).error
    assert 401 == (await gate.infer([1], caller="")).status


async def test_dialects_share_entries(start: Start) -> None:
    """The same question as JSON, in binary and over gRPC, asking for JSON or binary, is one question."""
    gate = await start(POLICY)
    json_reply = await gate.infer([3, 4])
    body, headers = packed([3, 4], parameters={"binary_data_output": True})
    binary = await gate.ask("POST", "/v2/models/digits/infer", body, headers)
    body, headers = packed([3, 4])
    mixed = await gate.ask("POST", "/v2/models/digits/infer", body, headers)
    call = gate.stub().ModelInfer(question([3, 4]), metadata=[("x-api-key", gate.keys["free"])])
    answer = await call
    metadata = dict(await call.initial_metadata())
    assert 1 == len(gate.backend.asked)
    assert all(
        "hit" in each for each in (binary.headers["cache-status"], mixed.headers["cache-status"], metadata["cache-status"])
    )
    assert json_reply.json["outputs"] == mixed.json["outputs"]
    assert [103, 104] == json_reply.output("label")
    assert [103, 104] == np.frombuffer(answer.raw_output_contents[1], "<i8").tolist()


@pytest.mark.parametrize("policy", [POLICY, ROWS], ids=["whole", "rows"])
async def test_clients_may_do_without(start: Start, policy: str) -> None:
    """`no-cache` asks anew and keeps the answer, `no-store` does neither."""
    gate = await start(policy)
    await gate.infer([1])
    anew = await gate.infer([1], headers={"Cache-Control": "no-cache"})
    past = await gate.infer([1], headers={"Cache-Control": "max-age=0, No-Store"})
    other = await gate.infer([2], headers={"Cache-Control": "no-store"})
    assert 4 == len(gate.backend.asked)
    assert "penstock; fwd=request; stored" == anew.headers["cache-status"]
    assert "penstock; fwd=request" == past.headers["cache-status"] == other.headers["cache-status"]
    assert "fwd=miss" in (await gate.infer([2])).headers["cache-status"]


async def test_rows_are_found_one_by_one(start: Start) -> None:
    """Only rows never asked before go to the backend, in one batch and in order; the answer is put together bit for bit."""
    gate = await start(ROWS)
    whole = await gate.infer([5, 1, 4, 2])
    part = await gate.infer([9, 4, 8, 5])
    assert [("digits_fast", [5, 1, 4, 2]), ("digits_fast", [9, 8])] == asked(gate)
    assert 'penstock; fwd=partial; stored; detail="2 of 4 rows"' == part.headers["cache-status"]
    assert ([109, 104, 108, 105], "2") == (part.output("label"), part.headers["x-penstock-cost"])
    again = await gate.infer([2, 9, 1])
    assert ("0", [102, 109, 101]) == (again.headers["x-penstock-cost"], again.output("label"))
    assert whole.output("probabilities")[10:20] == again.output("probabilities")[20:30]
    assert 2 == len(gate.backend.asked)


async def test_rows_of_a_cascade_keep_their_variant(start: Start) -> None:
    """Each row is told as answered by the variant that answered it, from the cache as it was live."""
    gate = await start(CASCADE)
    gate.backend.confidence = {"digits_fast": {1: 0.5, 4: 0.2}}
    live = await gate.infer([0, 1, 2, 4])
    kept = await gate.infer([4, 0])
    assert ("fast=2,accurate=2", "fast→accurate") == told(live)
    assert ("fast=1,accurate=1", "fast→accurate") == told(kept)
    assert [304, 100] == kept.output("label")
    assert ("fast", "none") == told(await gate.infer([2, 0]))
    assert 2 == len(gate.backend.asked)


async def test_an_incomplete_answer_is_not_kept(start: Start) -> None:
    """A cascade that lost a stage, a fallback's answer and an error are given once, and asked again."""
    gate = await start(CASCADE)
    gate.backend.confidence = {"digits_fast": {1: 0.5}}
    gate.backend.scripts["digits_accurate"] = failing(500)
    assert ("fast", "skipped;error") == told(await gate.infer([1]))
    del gate.backend.scripts["digits_accurate"]
    assert ("accurate", "fast→accurate") == told(await gate.infer([1]))
    await gate.reload(POLICY.replace("    routes:", "    fallback: {fast: accurate}\n    routes:"))
    gate.backend.scripts["digits_fast"] = failing(500)
    assert "accurate" == (await gate.infer([1])).headers["x-penstock-variant"]
    del gate.backend.scripts["digits_fast"]
    assert "fast" == (await gate.infer([1])).headers["x-penstock-variant"]


async def test_a_changed_policy_finds_nothing_of_the_old(start: Start) -> None:
    """A new threshold makes new questions of old ones at once; the first policy again finds what it left."""
    gate = await start(CASCADE)
    gate.backend.confidence = {"digits_fast": {1: 0.95}}
    assert ("fast", "none") == told(await gate.infer([1]))
    await gate.reload(CASCADE.replace("accept: 0.9", "accept: 0.96"))
    assert ("accurate", "fast→accurate") == told(await gate.infer([1]))
    await gate.reload(CASCADE + "# again\n")
    reply = await gate.infer([1])
    assert (("fast", "none"), True) == (told(reply), "hit" in reply.headers["cache-status"])


async def test_a_version_loaded_at_the_backend_makes_the_old_answers_unreachable(start: Start) -> None:
    """As soon as the gateway has seen that the backend serves another version."""
    gate = await start(POLICY)
    await gate.learned()
    await gate.infer([1])
    gate.backend.versions = ["2"]
    await gate.learned()
    assert "miss" in (await gate.infer([1])).headers["cache-status"]


async def test_equal_questions_in_flight_are_one(start: Start) -> None:
    """Each client has its own answer with its own id; the backend is asked once, though the first to ask has no time left."""
    gate = await start(POLICY)
    waiting = gate.backend.scripts["digits_fast"] = Waiting()
    leader = asyncio.ensure_future(gate.infer([1], {"X-Request-Timeout-Ms": "300"}, id="leader"))
    await waiting.entered.wait()
    others = [asyncio.ensure_future(gate.infer([1], id=f"q{index}")) for index in range(5)]
    assert 504 == (await leader).status
    waiting.go.set()
    replies = await asyncio.gather(*others)
    assert [f"q{index}" for index in range(5)] == [each.json["id"] for each in replies]
    told = [each.headers["cache-status"] for each in replies]
    assert ["penstock; fwd=miss; collapsed"] * 4 + ["penstock; fwd=miss; stored; collapsed"] == sorted(told)
    assert 1 == len(gate.backend.asked)
    assert not waiting.left.is_set()


async def test_an_error_is_told_to_all_and_forgotten(start: Start) -> None:
    """Everybody in flight hears of it once; the next question asks again."""
    gate = await start(POLICY)
    gate.backend.scripts["digits_fast"] = failing(500)
    replies = await asyncio.gather(*(gate.infer([1]) for _ in range(4)))
    assert {502} == {each.status for each in replies}
    before = len(gate.backend.asked)
    del gate.backend.scripts["digits_fast"]
    assert 200 == (await gate.infer([1])).status
    assert before + 1 == len(gate.backend.asked)


async def test_the_last_to_leave_ends_the_question(start: Start) -> None:
    """When nobody waits any more the backend is not held up for nobody."""
    gate = await start(POLICY)
    waiting = gate.backend.scripts["digits_fast"] = Waiting()
    clients = [asyncio.ensure_future(gate.infer([1])) for _ in range(3)]
    await waiting.entered.wait()
    for client in clients:
        client.cancel()
    async with asyncio.timeout(5):
        await waiting.left.wait()


async def test_a_stale_answer_is_better_than_none(start: Start) -> None:
    """Within stale-if-error a backend's failure is answered by what was kept, and says so."""
    gate = await start(POLICY.replace("ttl: 10m", "ttl: 1ms, stale_if_error: 1h"))
    first = await gate.infer([1])
    gate.backend.scripts["digits_fast"] = failing(500)
    await asyncio.sleep(0.005)
    reply = await gate.infer([1])
    assert (200, first.json["outputs"]) == (reply.status, reply.json["outputs"])
    assert reply.headers["cache-status"].startswith("penstock; hit; ttl=-1")
    assert 502 == (await gate.infer([2])).status


async def test_what_is_thrown_away_meanwhile_stands_in_for_nothing(start: Start) -> None:
    """A purge is about stale answers as well, also for whoever had found one before it and hears of a failure after it."""
    gate = await start(POLICY.replace("ttl: 10m", "ttl: 1ms, stale_if_error: 1h"))
    await gate.infer([1])
    await asyncio.sleep(0.005)
    purge = framed("POST", "/api/cache/purge", gate.credential("admin"), b'{"model": "digits"}')

    async def purged(*asked: Any) -> None:
        assert 200 == (await ask(gate.gateway.ports.admin.port, purge)).status
        await failing(500)(*asked)

    gate.backend.scripts["digits_fast"] = failing(500)
    assert 200 == (await gate.infer([1])).status
    gate.backend.scripts["digits_fast"] = purged
    assert 502 == (await gate.infer([1])).status


async def test_a_stale_answer_is_given_while_it_is_renewed(start: Start) -> None:
    """Nobody waits for the new answer; there is one renewal, however many ask meanwhile."""
    gate = await start(POLICY.replace("ttl: 10m", "ttl: 1ms, stale_while_revalidate: 1h"))
    await gate.infer([1])
    await asyncio.sleep(0.005)
    waiting = gate.backend.scripts["digits_fast"] = Waiting()
    stale = [await gate.infer([1]) for _ in range(3)]
    assert all(each.headers["cache-status"].startswith("penstock; hit; ttl=-1") for each in stale)
    await waiting.entered.wait()
    assert 2 == len(gate.backend.asked)
    waiting.go.set()


def question(rows: list[int]) -> Any:
    """The digits models' input as a gRPC message, its elements in the message's own fields."""
    message = service_pb2.ModelInferRequest(model_name="digits")
    entry = message.inputs.add(name="image", datatype="FP32", shape=[len(rows), 4])
    for row in rows:
        entry.contents.fp32_contents.extend([row, 0, 0, 0])
    return message


def told(reply: Any) -> tuple[str, str]:
    return reply.headers["x-penstock-variant"], reply.headers["x-penstock-escalation"]


async def test_operators_throw_answers_away(start: Start) -> None:
    """Of one model, by its tag, or of a version that answered; the others stay."""
    gate = await start(POLICY.replace("ttl: 10m", "ttl: 10m, tag: vision"))
    for which, gone in (
        ({"model": "digits"}, True),
        ({"tag": "vision"}, True),
        ({"version": "9"}, False),
        ({"version": "1"}, True),
    ):
        await gate.infer([1])
        body = json.dumps(which).encode()
        request = framed("POST", "/api/cache/purge", gate.credential("admin"), body)
        assert 200 == (await ask(gate.gateway.ports.admin.port, request)).status
        assert gone == ("miss" in (await gate.infer([1])).headers["cache-status"]), which
