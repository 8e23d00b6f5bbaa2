"""Triton's own asyncio clients, over HTTP and gRPC, unchanged, against the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio
import tritonclient.http.aio
from layout import Layout
from tritonclient.utils import InferenceServerException

from tests.real_parts import GatewayProcess, accepted

pytestmark = pytest.mark.slow

ONES, COUNTING = np.ones((1, 16), np.int32), np.arange(16, dtype=np.int32).reshape(1, 16)
MODULES: dict[str, Any] = {"http": tritonclient.http.aio, "grpc": tritonclient.grpc.aio}


class Caller:
    """One of the two clients and its module, whose inputs and outputs are classes of its own."""

    def __init__(self, form: str, gateway: GatewayProcess) -> None:
        self.form = form
        self.gateway = gateway
        self.module = MODULES[form]
        self.client = self.module.InferenceServerClient(gateway.http if form == "http" else gateway.grpc)

    def given(self, name: str, array: Any, datatype: str) -> Any:
        """One input."""
        made = self.module.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array)
        return made

    def pair(self, shift: int = 0) -> list[Any]:
        """What `simple` takes."""
        return [self.given("INPUT0", COUNTING + shift, "INT32"), self.given("INPUT1", ONES, "INT32")]

    async def infer(self, model: str, inputs: list[Any], **more: Any) -> Any:
        """The client's answer, with the key shown."""
        return await self.client.infer(model, inputs, **{"headers": self.gateway.credential, **more})

    def identity(self, answer: Any) -> str:
        """The request id that the answer bears."""
        response = answer.get_response()
        return str(response["id"] if self.form == "http" else response.id)


@pytest.fixture(params=["http", "grpc"])
async def caller(request: pytest.FixtureRequest, gateway: GatewayProcess) -> AsyncIterator[Caller]:
    """Each client in turn."""
    made = Caller(request.param, gateway)
    yield made
    await made.client.close()


async def test_health_and_descriptions(caller: Caller, gateway: GatewayProcess) -> None:
    """Live, ready, metadata, configuration, statistics and index."""
    client, headers = caller.client, gateway.credential
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("simple", headers=headers)
    described = [
        await client.get_server_metadata(headers=headers),
        await client.get_model_metadata("simple", headers=headers),
        await client.get_model_config("simple", headers=headers),
        await client.get_inference_statistics("simple", headers=headers),
        await client.get_model_repository_index(headers=headers),
    ]
    for words, found in zip(("penstock", "INPUT0", "TYPE_INT32", "inference_stats", "repeat_int32"), described, strict=True):
        assert words in str(found)


async def test_sum_and_difference(caller: Caller, gateway: GatewayProcess) -> None:
    """With a key and with a token; the id comes back, and only the output asked for."""
    for credential in (gateway.credential, gateway.bearer()):
        outputs = [caller.module.InferRequestedOutput("OUTPUT1")]
        answer = await caller.infer("simple", caller.pair(), outputs=outputs, request_id="seven", headers=credential)
        assert (COUNTING - ONES).tolist() == answer.as_numpy("OUTPUT1").tolist()
        assert answer.as_numpy("OUTPUT0") is None
        assert "seven" == caller.identity(answer)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compression(caller: Caller, coding: str) -> None:
    """Compressed both ways."""
    texts = np.array([[str(number).encode() for number in range(2000)]], dtype=object)
    how = (
        {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
        if caller.form == "http"
        else {"compression_algorithm": coding}
    )
    answer = await caller.infer("simple_identity", [caller.given("INPUT0", texts, "BYTES")], **how)
    assert texts.tolist() == answer.as_numpy("OUTPUT0").tolist()


async def test_errors(caller: Caller) -> None:
    """An unknown model, a misfit and a missing credential, each with its status."""
    expected = {
        "http": ["404", "400", "401"],
        "grpc": ["StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT", "StatusCode.UNAUTHENTICATED"],
    }[caller.form]
    found = []
    for model, inputs, headers in (
        ("nope", caller.pair(), None),
        ("simple", caller.pair()[:1], None),
        ("simple", caller.pair(), {}),
    ):
        with pytest.raises(InferenceServerException) as refused:
            await caller.infer(model, inputs, **({} if headers is None else {"headers": headers}))
        found.append(refused.value.status())
    assert expected == found


async def test_many_at_once(caller: Caller) -> None:
    """Every answer belongs to its question."""
    answers = await asyncio.gather(*(caller.infer("simple", caller.pair(shift), request_id=str(shift)) for shift in range(100)))
    for shift, answer in enumerate(answers):
        assert (COUNTING + shift + ONES).tolist() == answer.as_numpy("OUTPUT0").tolist()
        assert str(shift) == caller.identity(answer)


async def test_the_cascade_keeps_everybody_apart(caller: Caller) -> None:
    """All held-out images at once, each on its own: Triton makes batches of them, and everyone gets the right stage's label."""
    stored = np.load(Layout().held_out)
    fast, balanced, accurate = (stored[f"digits_{stage}_1"] for stage in ("fast", "balanced", "accurate"))
    first, second = accepted()
    upper = np.where((balanced.max(axis=1) >= second)[:, None], balanced, accurate)
    expected = np.where((fast.max(axis=1) >= first)[:, None], fast, upper)
    room = asyncio.Semaphore(32)

    async def ask(image: Any) -> Any:
        async with room:
            return await caller.infer("digits", [caller.given("image", image[None], "FP32")])

    answers = await asyncio.gather(*map(ask, stored["images"]))
    assert expected.argmax(axis=1).tolist() == [int(answer.as_numpy("label")[0, 0]) for answer in answers]
    found = np.concatenate([answer.as_numpy("probabilities") for answer in answers])
    np.testing.assert_allclose(expected, found, atol=1e-6)  # other batch sizes change the last bits


async def test_a_stream(gateway: GatewayProcess) -> None:
    """The asyncio gRPC client's stream: questions from an iterator, answers from another."""
    caller = Caller("grpc", gateway)
    values = [3, 1, 2]

    async def questions() -> AsyncIterator[dict[str, Any]]:
        for name in ("a", "b"):
            arrays = (("IN", np.array(values, np.int32)), ("DELAY", np.zeros(3, np.uint32)), ("WAIT", np.zeros(1, np.uint32)))
            inputs = [caller.given(each, array, "INT32" if each == "IN" else "UINT32") for each, array in arrays]
            yield {"model_name": "repeat_int32", "inputs": inputs, "request_id": name}

    async with caller.client as client:
        told = []
        async for result, error in client.stream_infer(questions(), headers=gateway.credential):
            assert error is None
            told.append((caller.identity(result), int(result.as_numpy("OUT")[0])))
    assert [(name, value) for name in ("a", "b") for value in values] == told
