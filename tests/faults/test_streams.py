"""Streams over gRPC while the way to one of two servers keeps breaking: each is asked once more, before its first answer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from backends.cluster import Cluster
from backends.deadline import Deadline
from backends.errors import InferenceError
from backends.inference import InferenceRequest, Tensors
from backends.rules import Retry, Rules
from backends.tensors import Tensor
from gateway.compile import cluster
from gateway.snapshot import ClusterSpec
from tests.faults.fault_proxy import NONE, FaultProxy, Faults
from tests.faults.figures import LONG, Figures
from tests.faults.test_crossed import SPEC, over_grpc

pytestmark = pytest.mark.slow

STREAMS = 2000 if LONG else 200
AT_ONCE = 8


async def told(backend: Cluster, number: int) -> list[int]:
    """The numbers that a stream gives back; one that breaks after its answer has given it."""
    asked = number.to_bytes(8, "little")
    request = InferenceRequest("m", "", "", {}, SPEC, (), Tensors((Tensor("x", "INT64", (1,), asked),)))
    found = list[int]()
    try:
        async with aclosing(backend.stream(request, Deadline(asyncio.get_running_loop().time() + 10))) as answers:
            async for answer in answers:
                (tensor,) = answer.payload.tensors()
                found.append(int.from_bytes(bytes(tensor.data), "little"))
    except InferenceError:
        if not found:
            raise
    return found


async def test_no_stream_is_lost_before_its_first_answer(figures: Figures) -> None:
    """The server behind a way that is reset again and again costs nobody his answer; once mended it is asked as before."""
    async with over_grpc() as first, over_grpc() as second:
        way = FaultProxy(first)
        await way.start()
        endpoints = (("127.0.0.1", way.port), ("127.0.0.1", second))
        rules = Rules(1000, retry=Retry(2, 1.0))
        backend = cluster(ClusterSpec("c", "triton-grpc", endpoints, "round-robin", rules), lambda *_: None)
        numbers, failed = iter(range(STREAMS)), 0

        async def asking() -> None:
            nonlocal failed
            for number in numbers:
                if number % 20 == 10:
                    way.answers = Faults(reset_after=0) if number % 40 == 10 else NONE
                    way.reset()
                try:
                    assert [number] == await told(backend, number)
                except InferenceError:
                    failed += 1

        await asyncio.gather(*(asking() for _ in range(AT_ONCE)))
        figures.none_of("Endpoints", "streams failed while the way to one of two is reset", failed, STREAMS)
        way.answers = NONE
        async with asyncio.timeout(20):  # grpcio waits longer after each way that broke
            while not backend.endpoints[0].answers:
                assert [STREAMS] == await told(backend, STREAMS)
        assert 0 == backend.in_flight + sum(each.in_flight for each in backend.endpoints)
        await backend.close()
        await way.stop()
