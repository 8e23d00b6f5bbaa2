"""A cache between unchanged Triton clients and a real Triton: every dialect gets what Triton itself says, from one entry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from tests.real_parts import GatewayProcess, Triton, policy, start_gateway

pytestmark = pytest.mark.slow

CACHED = {"simple": {"ttl": "1h"}, "simple_string": {"ttl": "1h", "rows": True}, "digits": {"ttl": "1h", "rows": True}}
NUMBERS = np.arange(64, dtype=np.int32).reshape(4, 16)
IMAGES = np.random.default_rng(3).random((6, 64), dtype=np.float32) * 16


@pytest.fixture(scope="module", params=["triton-http", "triton-grpc"])
def cached(triton: Triton, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that keeps answers, before the session's Triton."""
    document = policy(triton, request.param)
    for name, cache in CACHED.items():
        document["models"][name]["cache"] = cache
    gateway = start_gateway(tmp_path_factory.mktemp("cached"), document)
    yield gateway
    assert 0 == gateway.stop()


def inputs(client: Any, arrays: dict[str, np.ndarray[Any, Any]], **how: Any) -> list[Any]:
    found = []
    for name, array in arrays.items():
        datatype = {"int32": "INT32", "float32": "FP32"}.get(str(array.dtype), "BYTES")
        found.append(client.InferInput(name, array.shape, datatype))
        found[-1].set_data_from_numpy(array, **how)
    return found


def asked(
    address: tuple[str, str], model: str, arrays: dict[str, np.ndarray[Any, Any]], outputs: list[str], key: str = ""
) -> list[dict[str, list[Any]]]:
    """The outputs by JSON, by binary in both ways, and by gRPC."""
    headers, told = {"x-api-key": key or "nobody"}, []  # the client adds to those that it is given
    http = tritonclient.http.InferenceServerClient(address[0])
    for binary in (False, True):
        wanted = [tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in outputs]
        given = inputs(tritonclient.http, arrays, binary_data=binary)
        result = http.infer(model, given, outputs=wanted, headers=dict(headers))
        told.append({name: result.as_numpy(name).tolist() for name in outputs})
    http.close()
    grpc = tritonclient.grpc.InferenceServerClient(address[1])
    wanted = [tritonclient.grpc.InferRequestedOutput(name) for name in outputs]
    answer = grpc.infer(model, inputs(tritonclient.grpc, arrays), outputs=wanted, headers=dict(headers))
    told.append({name: answer.as_numpy(name).tolist() for name in outputs})
    grpc.close()
    return told


TEXTS = np.array([[str(number).encode() for number in row] for row in NUMBERS], dtype=object)


@pytest.mark.parametrize(
    ("model", "arrays", "outputs"),
    [
        ("simple", {"INPUT0": NUMBERS[:1], "INPUT1": NUMBERS[1:2]}, ["OUTPUT0", "OUTPUT1"]),
        ("simple_string", {"INPUT0": TEXTS[:1], "INPUT1": TEXTS[1:2]}, ["OUTPUT1", "OUTPUT0"]),
    ],
)
def test_every_dialect_gets_tritons_answer(
    cached: GatewayProcess, triton: Triton, model: str, arrays: dict[str, np.ndarray[Any, Any]], outputs: list[str]
) -> None:
    """The first asks Triton, the others are answered from what it said; text as well as numbers."""
    before = hits(cached, model)
    direct = asked((triton.http, triton.grpc), model, arrays, outputs)
    through = asked((cached.http, cached.grpc), model, arrays, outputs, cached.key)
    assert direct == through
    assert {} == before
    assert {"hit": 2, "miss": 1} == hits(cached, model)


def test_rows_of_a_cascade_are_what_they_were(cached: GatewayProcess) -> None:
    """A batch asked whole, and again in another order beside rows that are new: each row is bit for bit the one that was."""
    whole, mixed = (digits(cached, rows) for rows in ([0, 1, 2, 3], [5, 3, 1, 4, 0]))
    assert [whole[row] for row in (3, 1, 0)] == [mixed[place] for place in (1, 2, 4)]
    assert mixed == digits(cached, [5, 3, 1, 4, 0])
    assert {"miss": 1, "partial": 1, "hit": 1} == hits(cached, "digits")


def digits(gateway: GatewayProcess, rows: list[int]) -> list[bytes]:
    client = tritonclient.http.InferenceServerClient(gateway.http)
    result = client.infer("digits", inputs(tritonclient.http, {"image": IMAGES[rows]}), headers={"x-api-key": gateway.key})
    client.close()
    found: np.ndarray[Any, Any] = result.as_numpy("probabilities")
    return [row.tobytes() for row in found]


def hits(gateway: GatewayProcess, model: str) -> dict[str, int]:
    """Questions to the model by how they were answered."""
    results = ("hit", "miss", "partial", "bypass", "collapsed")
    found = {each: int(gateway.metric("penstock_cache_requests_total", model=model, result=each)) for each in results}
    return {each: count for each, count in found.items() if count}
