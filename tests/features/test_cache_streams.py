"""Streams of a real Triton from the cache, over gRPC: whole ones are given again in order, to their own tenant; others never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.real_parts import Redis, Triton, start_triton

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

POLICY = """
version: 1
backends: {triton: {protocol: triton-grpc, endpoints: ["GRPC"]}}
models:
  repeat:
    timeout: 20s
    cache: {ttl: 10m, rows: true}
    variants: {repeat: {backend: triton, model: repeat_int32, cost: 2}}
    routes: [{name: default, use: repeat}]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Triton]:
    """A Triton with a model that answers several times; up in a quarter of a second."""
    with start_triton(("repeat_int32",)) as running:
        yield running
        running.process.kill()  # it would wait for answers that nobody waits for
    running.log.unlink()


@pytest.fixture
async def gate(start: Start, server: Triton) -> Running:
    """A gateway before it, which knows its versions: they are in the key."""
    gate = await start(POLICY.replace("GRPC", server.grpc))
    await gate.learned()
    return gate


NEVER = 19_000  # ms: beyond what any test waits for, on any machine


def question(values: Sequence[int], then: int = 0, **fields: Any) -> Any:
    """The first value comes back at once, each other after so many milliseconds."""
    tensors = {
        "IN": ("INT32", np.array(values, "<i4")),
        "DELAY": ("UINT32", np.array([0, *[then] * (len(values) - 1)], "<u4")),
        "WAIT": ("UINT32", np.zeros(1, "<u4")),
    }
    found = service_pb2.ModelInferRequest(model_name="repeat", **fields)
    for name, (datatype, array) in tensors.items():
        found.inputs.add(name=name, datatype=datatype, shape=array.shape)
        found.raw_input_contents.append(array.tobytes())
    return found


async def opened(gate: Running, *questions: Any, caller: str = "free", **metadata: str) -> Any:
    """A stream on which these were asked."""
    given = {name.replace("_", "-"): value for name, value in metadata.items()}
    stream = gate.stub().ModelStreamInfer(metadata=[("x-api-key", gate.keys[caller]), *given.items()])
    for each in questions:
        await stream.write(each)
    await stream.done_writing()
    return stream


async def told(gate: Running, *questions: Any, caller: str = "free", **metadata: str) -> tuple[list[Any], dict[str, str]]:
    """All answers, and the metadata that came before them."""
    stream = await opened(gate, *questions, caller=caller, **metadata)
    found = [each.infer_response async for each in stream if not each.error_message]
    return found, dict(await stream.initial_metadata())


def values(answers: Sequence[Any]) -> list[int]:
    return [int(np.frombuffer(each.raw_output_contents[0], "<i4")[0]) for each in answers if each.raw_output_contents]


async def asked(gate: Running) -> float:
    """How many questions Triton was asked."""
    metrics = await gate.metrics()
    return sum(value for (name, _), value in metrics.items() if name == "penstock_backend_requests_total")


async def test_a_stream_is_given_again(gate: Running) -> None:
    """The same answers in the same order, each under the asker's own id; it costs nothing, asks nobody and says so."""
    first, before = await told(gate, question([5, 3, 8], id="one"))
    second, after = await told(gate, question([5, 3, 8], id="two"))
    assert ([5, 3, 8], [5, 3, 8], 1) == (values(first), values(second), await asked(gate))
    assert [["one"] * 3, ["two"] * 3] == [[each.id for each in found] for found in (first, second)]
    for each in (*first, *second):
        each.id = ""
    assert first == second
    assert ("penstock; fwd=miss", "2") == (before["cache-status"], before["x-penstock-cost"])
    assert ("penstock; hit; ttl=", "0", "repeat") == (
        after["cache-status"][:19],
        after["x-penstock-cost"],
        after["x-penstock-variant"],
    )
    metrics = await gate.metrics()
    assert (1, 1) == tuple(metrics["penstock_cache_requests_total", ("repeat", each)] for each in ("miss", "hit"))


async def test_several_questions_on_one_stream(gate: Running) -> None:
    """Each is looked up on its own; the metadata can tell of the first only."""
    found, metadata = await told(gate, question([1, 2]), question([1, 2]), question([2, 1]))
    assert ([1, 2, 1, 2, 2, 1], 2) == (values(found), await asked(gate))
    assert metadata["cache-status"] == "penstock; fwd=miss"


async def test_the_empty_last_answer_is_part_of_it(gate: Running) -> None:
    """Whoever asks for Triton's mark of the end has it from the cache as well, and is another question than who does not."""
    marked = question([4, 4])
    marked.parameters["triton_enable_empty_final_response"].bool_param = True
    first, _ = await told(gate, marked)
    second, metadata = await told(gate, marked)
    assert (3, [False, False, True]) == (
        len(first),
        [each.parameters["triton_final_response"].bool_param for each in second],
    )
    assert (first, "hit" in metadata["cache-status"]) == (second, True)
    assert 2 == len((await told(gate, question([4, 4])))[0])
    assert 2 == await asked(gate)


async def test_tenants_have_streams_of_their_own(gate: Running) -> None:
    """And a stranger has none."""
    await told(gate, question([1]))
    _, metadata = await told(gate, question([1]), caller="enterprise")
    assert ("penstock; fwd=miss", 2) == (metadata["cache-status"], await asked(gate))
    assert [] == (await told(gate, question([1]), caller="digits-only"))[0]


async def test_clients_may_do_without(gate: Running) -> None:
    """`no-cache` asks anew, `no-store` as well and leaves no trace; both by metadata."""
    for control in ("no-store", "no-cache", "no-cache"):
        _, metadata = await told(gate, question([6]), cache_control=control)
        assert metadata["cache-status"] == "penstock; fwd=request"
    assert 3 == await asked(gate)
    assert "hit" in (await told(gate, question([6])))[1]["cache-status"]


async def test_a_client_that_leaves_has_nothing_kept(gate: Running) -> None:
    """Half of a stream is nobody's answer."""
    stream = await opened(gate, question([1, 2, 3], NEVER))
    assert [1] == values([(await stream.read()).infer_response])
    stream.cancel()
    async with asyncio.timeout(20):
        while (await gate.metrics())["penstock_in_flight", ("triton",)]:
            pass
    assert 0 == (await gate.metrics())["penstock_cache_bytes", ()]


async def test_a_deadline_in_the_middle_has_nothing_kept(gate: Running) -> None:
    """The client hears of it after what came in time."""
    stream = await opened(gate, question([1, 2], NEVER), x_request_timeout_ms="600")
    found = [each async for each in stream]
    assert "deadline" in found[-1].error_message
    assert 0 == (await gate.metrics())["penstock_cache_bytes", ()]


async def test_gateways_that_share_answers_share_streams(start: Start, server: Triton, redis: Redis) -> None:
    """What one has kept the other gives again, bit for bit, out of Redis."""
    gates = [await start(POLICY.replace("GRPC", server.grpc), store=redis.url) for _ in range(2)]
    for gate in gates:
        await gate.learned()
        async with asyncio.timeout(20):
            while not (await gate.metrics())["penstock_store_up", ()]:
                pass
    first, _ = await told(gates[0], question(list(range(50))))
    second, metadata = await told(gates[1], question(list(range(50))))
    assert (first, "penstock; hit; ttl=") == (second, metadata["cache-status"][:19])
    assert (1, 0) == (await asked(gates[0]), await asked(gates[1]))


@pytest.fixture
async def mortal(start: Start) -> AsyncIterator[tuple[Running, Triton]]:
    """A gateway before a Triton that the test may kill."""
    running = start_triton(("repeat_int32",))
    yield await start(POLICY.replace("GRPC", running.grpc)), running
    running.process.kill()
    running.stop()
    running.log.unlink()


async def test_a_server_that_dies_in_the_middle_has_nothing_kept(mortal: tuple[Running, Triton]) -> None:
    """What came before is the client's, and an error after it."""
    gate, server = mortal
    stream = await opened(gate, question([1, 2, 3], NEVER))
    assert [1] == values([(await stream.read()).infer_response])
    server.process.kill()
    answer = await stream.read()
    while not answer.error_message:
        answer = await stream.read()
    assert 0 == (await gate.metrics())["penstock_cache_bytes", ()]
