"""Limits: so much for each tenant, tier, subject or model, and no more, over HTTP and gRPC, whatever the client says."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.features.conftest import CALLERS, image, packed, until
from tests.features.oip_server import Waiting, failing
from tests.features.test_grpc import Repeating, by, question, refused, times

if TYPE_CHECKING:
    from tests.features.conftest import Reply, Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:PORT"]}}
models:
  digits:
    timeout: 5s
    variants: {fast: {backend: triton, model: digits_fast, cost: 1}}
    routes: [{name: default, use: fast}]
  echo:
    timeout: 5s
    variants: {echo: {backend: triton, model: echo}}
    routes: [{name: default, use: echo}]
aliases: {mnist: digits}
limits:
"""
Status = grpc.StatusCode


def limiting(*limits: str) -> str:
    return POLICY + "".join(f"  - {{{each}}}\n" for each in limits)


async def statuses(gate: Running, count: int, **how: Any) -> list[int]:
    return [(await gate.infer(**how)).status for _ in range(count)]


def quota(reply: Reply) -> tuple[str, str]:
    return reply.headers["ratelimit-policy"], reply.headers["ratelimit"]


async def test_requests(start: Start) -> None:
    """As many as there are; then 429 with its reason, when to come back, and what the limit is."""
    gate = await start(limiting("name: free, match: {tier: free}, per: tenant, requests: 2/h"))
    assert 0 == (await gate.metrics())["penstock_limited_total", ("free",)]  # there before it refuses
    policy = '"free";q=2;w=3600'
    first = await gate.infer()
    assert (200, (policy, '"free";r=1;t=1800')) == (first.status, quota(first))
    assert '"free";r=0;t=3600' == (await gate.infer()).headers["ratelimit"]
    third = await gate.infer()
    assert (429, "limited") == third.error
    assert (policy, '"free";r=0;t=3600') == quota(third)
    assert "1800" == third.headers["retry-after"]
    assert "limit 'free' has no requests left: try again in 1800 s" == third.json["error"]
    assert "default" == third.headers["x-penstock-route"]
    assert 2 == len(gate.backend.asked)
    metrics = await gate.metrics()
    assert 1 == metrics["penstock_limited_total", ("free",)]
    assert 1 == metrics["penstock_requests_total", ("digits", "default", "", "429")]


async def test_whoever_is_not_bound(start: Start) -> None:
    """Another tier has no limit, and hears of none."""
    gate = await start(limiting("match: {tier: free}, requests: 1/h"))
    assert [200] * 5 == await statuses(gate, 5, caller="enterprise")
    reply = await gate.infer(caller="enterprise")
    assert not {"ratelimit", "ratelimit-policy"} & reply.headers.keys()
    assert [200, 429] == await statuses(gate, 2)


@pytest.mark.parametrize(
    ("per", "second"), [("", 429), ("per: tier, ", 429), ("per: tenant, ", 200), ("per: subject, ", 200), ("per: model, ", 429)]
)
async def test_per(start: Start, per: str, second: int) -> None:
    """What has a bucket of its own does not pay for others: two of one tier, of different tenants, ask one model."""
    gate = await start(limiting(f"{per}requests: 1/h"))
    assert [200, 429] == await statuses(gate, 2)
    assert second == (await gate.infer(caller="digits-only")).status
    assert ("free", "free") == (CALLERS["free"][1], CALLERS["digits-only"][1])


async def test_nothing_that_a_client_says_helps(start: Start) -> None:
    """Headers that look like identities, other names of the model, versions and ids: the principal is who the key says."""
    gate = await start(limiting("per: subject, requests: 1/h"))
    assert 200 == (await gate.infer()).status
    claims = {
        "X-Forwarded-For": "10.0.0.1",
        "X-Tenant": "other",
        "X-Penstock-Tenant": "other",
        "X-Request-Id": "fresh",
        "X-Priority": "0",
        "Idempotency-Key": "k",
        "RateLimit": '"limit-1";r=9',
    }
    for name, value in claims.items():
        assert 429 == (await gate.infer(headers={name: value})).status
    body = json.dumps({"inputs": [image([0])]}).encode()
    assert 429 == (await gate.ask("POST", "/v2/models/mnist/infer", body)).status
    assert 429 == (await gate.ask("POST", "/v2/models/digits/versions/1/infer", body)).status


async def test_only_answers_that_could_be_asked_for_count(start: Start) -> None:
    """A stranger, a forbidden or unknown model, a malformed body and what only describes cost nothing; a failing backend does."""
    gate = await start(limiting("requests: 2/h"))
    assert 401 == (await gate.infer(caller="")).status
    assert 403 == (await gate.infer(caller="admin")).status
    assert 404 == (await gate.ask("POST", "/v2/models/none/infer", b"{}")).status
    assert 400 == (await gate.ask("POST", "/v2/models/digits/infer", b"{")).status
    assert 200 == (await gate.ask("GET", "/v2/models/digits/ready")).status
    gate.backend.scripts["digits_fast"] = failing(500)
    assert 502 == (await gate.infer()).status
    gate.backend.scripts.clear()
    assert [200, 429] == await statuses(gate, 2)


async def test_anonymous_callers_are_one(start: Start) -> None:
    """Whoever comes without a credential is the one subject `anonymous`, from whatever connection."""
    gate = await start(limiting("match: {subject: anonymous}, per: subject, requests: 2/h"), auth="anonymous: true")
    assert [200, 200, 429] == await statuses(gate, 3, caller="")
    assert [200] * 3 == await statuses(gate, 3)


@pytest.mark.parametrize("ending", ["answered", "late", "left"])
async def test_concurrency(start: Start, ending: str) -> None:
    """So many at the same time: the next is refused until one of them has ended, in whatever way."""
    gate = await start(limiting("name: few, per: tenant, concurrency: 2"))
    waiting = gate.backend.scripts["digits_fast"] = Waiting()
    headers = {"X-Request-Timeout-Ms": "300"} if ending == "late" else {}
    held = [asyncio.ensure_future(gate.infer(headers=headers)) for _ in range(2)]
    await until(lambda: 2 == len(gate.backend.asked))
    third = await gate.infer()
    assert (429, "limited") == third.error
    assert "limit 'few' allows 2 requests at the same time: try again when one has ended" == third.json["error"]
    assert ('"few:concurrency";q=2;qu="concurrent-requests"', '"few:concurrency";r=0') == quota(third)
    assert "1" == third.headers["retry-after"]
    if ending == "left":
        for each in held:
            each.cancel()
        await waiting.left.wait()
    elif ending == "answered":
        waiting.go.set()
    ended, _ = await asyncio.wait(held)
    assert {"answered": [200, 200], "late": [504, 504], "left": []}[ending] == [
        each.result().status for each in ended if not each.cancelled()
    ]
    gate.backend.scripts.clear()
    async with asyncio.timeout(5):  # a client's end is heard of a moment later
        while 200 != (await gate.infer()).status:
            pass
    both = await asyncio.gather(gate.infer(), gate.infer())
    assert [200, 200] == [each.status for each in both]


async def test_bytes(start: Start) -> None:
    """A body counts with its head as it is once unpacked; one larger than all that may come at once waits for nothing owed."""
    gate = await start(limiting("name: heavy, per: subject, bytes: 2KiB/h"))
    body, headers = packed([0] * 64)
    assert 1024 < len(body) < 2048
    first = await gate.ask("POST", "/v2/models/digits/infer", body, headers)
    assert ('"heavy:bytes";q=2048;w=3600;qu="content-bytes"', 2048 - len(body)) == (
        first.headers["ratelimit-policy"],
        int(first.headers["ratelimit"].split(";")[1].removeprefix("r=")),
    )
    assert 429 == (await gate.ask("POST", "/v2/models/digits/infer", body, headers)).status
    body, headers = packed([0] * 64, id="x" * 2000)
    assert 200 == (await gate.ask("POST", "/v2/models/digits/infer", body, headers, "enterprise")).status
    assert 429 == (await gate.infer(caller="enterprise")).status


async def test_limits_hold_together(start: Start) -> None:
    """The narrowest that binds decides, and what it refuses costs the others nothing."""
    gate = await start(limiting("name: all, requests: 4/h", "name: one, per: subject, requests: 1/h"))
    assert [200, 429, 429, 429] == await statuses(gate, 4)
    assert [200, 429] == await statuses(gate, 2, caller="digits-only")
    reply = await gate.infer(caller="enterprise")
    assert ('"all";q=4;w=3600, "one";q=1;w=3600', '"one";r=0;t=3600') == quota(reply)
    assert 4 == (await gate.metrics())["penstock_limited_total", ("one",)]


async def test_grpc(start: Start) -> None:
    """The same bucket, RESOURCE_EXHAUSTED, and the same headers as metadata."""
    gate = await start(limiting("name: free, per: tenant, requests: 2/h"))
    stub = gate.stub()
    call = stub.ModelInfer(question(0), metadata=by(gate))
    await call
    metadata = dict(await call.initial_metadata())
    assert ('"free";q=2;w=3600', '"free";r=1;t=1800') == (metadata["ratelimit-policy"], metadata["ratelimit"])
    assert 200 == (await gate.infer()).status
    code, reason, trailers = await refused(stub.ModelInfer(question(0), metadata=by(gate)))
    assert (Status.RESOURCE_EXHAUSTED, "limited") == (code, reason)
    assert ("1800", '"free";r=0;t=3600') == (trailers["retry-after"], trailers["ratelimit"])
    await stub.ModelInfer(question(0), metadata=by(gate, "enterprise"))


async def test_questions_of_a_stream(start: Start) -> None:
    """Each counts; the stream outlives one that is refused, unless its client asked for statuses."""
    gate = await start(limiting("name: free, per: tenant, requests: 2/h"))
    stream = gate.stub().ModelStreamInfer(metadata=by(gate))
    for id in ("a", "b", "c"):
        await stream.write(question(0, id=id))
    await stream.done_writing()
    found = [each async for each in stream]
    assert ["a", "b", "c"] == [each.infer_response.id for each in found]
    assert ["", "", "limit 'free' has no requests left: try again in 1800 s"] == [each.error_message for each in found]
    assert '"free";r=1;t=1800' == dict(await stream.initial_metadata())["ratelimit"]
    strict = gate.stub().ModelStreamInfer(metadata=(*by(gate), ("triton_grpc_error", "true")))
    await strict.write(question(0))
    await strict.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        assert not [each async for each in strict]
    trailers = dict(caught.value.trailing_metadata() or ())
    assert (Status.RESOURCE_EXHAUSTED, "1800") == (caught.value.code(), trailers["retry-after"])
    assert '"free";r=0;t=3600' == trailers["ratelimit"]


async def test_a_stream_is_in_flight_until_its_last_answer(start: Start) -> None:
    """Of a decoupled model, too; a client that leaves gives back what it held."""
    server, model = grpc.aio.server(), Repeating()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    policy = f"""
version: 1
backends: {{triton: {{protocol: triton-grpc, endpoints: ["127.0.0.1:{server.add_insecure_port("127.0.0.1:0")}"]}}}}
models: {{repeat: {{variants: {{repeat: {{backend: triton, model: r}}}}, routes: [{{name: default, use: repeat}}]}}}}
limits: [{{name: one, per: subject, concurrency: 1}}]
"""
    await server.start()
    gate = await start(policy)
    stream = gate.stub().ModelStreamInfer(metadata=by(gate))
    await stream.write(times(-2))
    assert not (await stream.read()).error_message
    second = gate.stub().ModelStreamInfer(metadata=by(gate))
    await second.write(times(1))
    assert "limit 'one' allows 1 requests at the same time" in (await second.read()).error_message
    stream.cancel()
    await model.left.wait()
    async with asyncio.timeout(5):
        while True:
            await second.write(times(2))
            if not (await second.read()).error_message:
                break
    assert not (await second.read()).error_message
    second.cancel()
    await server.stop(0)


async def test_a_reload_keeps_what_is_used_up(start: Start) -> None:
    """A limit that says the same keeps its buckets, under another name and in another place; one that changed begins anew."""
    limit, other = "per: tenant, requests: 1/h", "match: {tier: nobody}, concurrency: 1"
    gate = await start(limiting(limit))
    assert [200, 429] == await statuses(gate, 2)
    await gate.reload(limiting(other, f"name: renamed, {limit}"))
    reply = await gate.infer()
    assert (429, "limit 'renamed' has no requests left: try again in 3600 s") == (reply.status, reply.json["error"])
    await gate.reload(limiting("per: tenant, requests: 2/h"))
    assert [200, 200, 429] == await statuses(gate, 3)
    await gate.reload(POLICY.replace("limits:\n", "without: [limits]\n"))
    assert [200] * 5 == await statuses(gate, 5)
    await gate.reload(limiting(limit))
    assert 429 == (await gate.infer()).status


async def test_losing_all_limits_is_an_accident(start: Start) -> None:
    """A policy without any does not replace one that has some, unless its author says so."""
    gate = await start(limiting("per: tenant, requests: 1/h"))
    await gate.reload(POLICY.replace("limits:\n", ""))
    assert [200, 429] == await statuses(gate, 2)
    assert 1 == (await gate.metrics())["penstock_policy_reloads_total", ("refused",)]


async def test_one_model(start: Start) -> None:
    """A limit of one model leaves the others alone."""
    gate = await start(limiting("match: {model: digits}, requests: 1/h"))
    assert [200, 429] == await statuses(gate, 2)
    body = json.dumps({"inputs": [image([0])]}).encode()
    assert [200] * 3 == [(await gate.ask("POST", "/v2/models/echo/infer", body)).status for _ in range(3)]


async def test_the_steady_rate(start: Start) -> None:
    """Asked without pause, the burst passes and then the rate, within 1 %: exactly that whenever one is refused."""
    gate = await start(limiting("per: tenant, requests: 100/s, burst: 300"))  # so large that no pause of this machine fills it
    loop = asyncio.get_running_loop()
    begin, passed, refusals = loop.time(), 0, 0
    while refusals < 100 or passed < 400:
        before = loop.time() - begin
        if (await gate.infer()).status == 200:
            passed += 1
            continue
        refusals += 1
        least, most = (100 * seconds + 300 for seconds in (before, loop.time() - begin))
        assert 0.99 * least - 1 <= passed <= 1.01 * most + 1
