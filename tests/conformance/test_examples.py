"""What the field's example clients for `simple` do, changed in nothing but the URL and the header with the key.

The essential calls of Triton's simple_{http,grpc}_infer_client, …_async_infer_client, …_string_infer_client,
…_health_metadata, …_model_control (which is refused), simple_grpc_aio_infer_client and simple_grpc_custom_repeat, anew.
"""

from __future__ import annotations

import queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.real_parts import GatewayProcess

pytestmark = pytest.mark.slow

MODULES: dict[str, Any] = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(params=["http", "grpc"])
def form(request: pytest.FixtureRequest) -> str:
    """Each of the two clients."""
    made: str = request.param
    return made


def url(gateway: GatewayProcess, form: str) -> str:
    """The only thing an example has to be told."""
    return gateway.http if form == "http" else gateway.grpc


def two_inputs(module: Any) -> tuple[list[Any], Any, Any]:
    """INPUT0 counts, INPUT1 is all ones; the first in one go, the second as one row set over."""
    first = np.expand_dims(np.arange(16, dtype=np.int32), axis=0)
    second = np.full((1, 16), 1, dtype=np.int32)
    inputs = [module.InferInput("INPUT0", [1, 16], "INT32"), module.InferInput("INPUT1", [1, 16], "INT32")]
    inputs[0].set_data_from_numpy(first)
    inputs[1].set_data_from_numpy(second)
    return inputs, first, second


def test_infer(gateway: GatewayProcess, form: str) -> None:
    """First with both outputs named, then with one, then with none named; then the statistics of it."""
    module = MODULES[form]
    with module.InferenceServerClient(url(gateway, form)) as client:
        inputs, first, second = two_inputs(module)
        both = [module.InferRequestedOutput("OUTPUT0"), module.InferRequestedOutput("OUTPUT1")]
        for outputs in (both, both[:1], None):
            result = client.infer("simple", inputs, outputs=outputs, headers=gateway.credential)
            assert np.array_equal(first + second, result.as_numpy("OUTPUT0"))
            if outputs != both[:1]:
                assert np.array_equal(first - second, result.as_numpy("OUTPUT1"))
        assert "simple" in str(client.get_inference_statistics("simple", headers=gateway.credential))


def test_async_infer(gateway: GatewayProcess, form: str) -> None:
    """Some requests under way, then their results."""
    module = MODULES[form]
    inputs, first, second = two_inputs(module)
    results: queue.Queue[Any] = queue.Queue()
    if form == "http":
        with module.InferenceServerClient(url(gateway, form), concurrency=2) as client:
            for pending in [client.async_infer("simple", inputs, headers=gateway.credential) for _ in range(5)]:
                results.put(pending.get_result())
    else:
        with module.InferenceServerClient(url(gateway, form)) as client:
            for _ in range(5):
                client.async_infer(
                    "simple", inputs, lambda result, error: results.put(error or result), headers=gateway.credential
                )
            received = [results.get(timeout=20) for _ in range(5)]
        for result in received:
            results.put(result)
    for _ in range(5):
        result = results.get_nowait()
        assert np.array_equal(first + second, result.as_numpy("OUTPUT0"))
        assert np.array_equal(first - second, result.as_numpy("OUTPUT1"))


def test_string_infer(gateway: GatewayProcess, form: str) -> None:
    """Numbers as text, in and out."""
    module = MODULES[form]
    arrays = [np.array([str(number) for number in numbers], dtype=np.object_).reshape(1, 16) for numbers in (range(16), [1] * 16)]
    inputs = []
    for index, array in enumerate(arrays):
        inputs.append(module.InferInput(f"INPUT{index}", [1, 16], "BYTES"))
        inputs[-1].set_data_from_numpy(array)
    with module.InferenceServerClient(url(gateway, form)) as client:
        result = client.infer("simple_string", inputs, headers=gateway.credential)
    for index in range(16):
        assert index + 1 == int(result.as_numpy("OUTPUT0")[0][index])
        assert index - 1 == int(result.as_numpy("OUTPUT1")[0][index])


def test_health_and_metadata(gateway: GatewayProcess, form: str) -> None:
    """Live, ready, the model ready, its metadata; and a wrong name is an exception that names it."""
    module = MODULES[form]
    with module.InferenceServerClient(url(gateway, form)) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("simple", headers=gateway.credential)
        assert client.get_server_metadata(headers=gateway.credential)
        metadata = client.get_model_metadata("simple", headers=gateway.credential)
        assert "simple" == (metadata["name"] if form == "http" else metadata.name)
        with pytest.raises(InferenceServerException, match="unknown model 'wrong_model_name'"):
            client.get_model_metadata("wrong_model_name", headers=gateway.credential)


def test_model_control_is_refused(gateway: GatewayProcess, form: str) -> None:
    """Loading and unloading belong to operators."""
    module = MODULES[form]
    with module.InferenceServerClient(url(gateway, form)) as client:
        for ask in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException):
                ask("simple", headers=gateway.credential)
        assert client.is_model_ready("simple", headers=gateway.credential)


def test_custom_repeat(gateway: GatewayProcess) -> None:
    """The decoupled example: values, a delay for each, and a wait; the answers come in order."""
    values = np.arange(10, dtype=np.int32)
    arrays = {"IN": values, "DELAY": np.full(10, 3, np.uint32), "WAIT": np.array([5], np.uint32)}
    inputs = []
    for name, array in arrays.items():
        inputs.append(tritonclient.grpc.InferInput(name, list(array.shape), "INT32" if name == "IN" else "UINT32"))
        inputs[-1].set_data_from_numpy(array)
    completed: queue.Queue[Any] = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(gateway.grpc) as client:
        client.start_stream(callback=lambda result, error: completed.put(error or result), headers=gateway.credential)
        client.async_stream_infer("repeat_int32", inputs, request_id="0", outputs=[tritonclient.grpc.InferRequestedOutput("OUT")])
        found = [completed.get(timeout=20) for _ in values]
        client.stop_stream()
    assert values.tolist() == [int(result.as_numpy("OUT")[0]) for result in found]
    assert {None} == {result.as_numpy("IDX") for result in found}
