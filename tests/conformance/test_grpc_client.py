"""Triton's own gRPC client, unchanged, against the gateway; streams too."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.real_parts import GatewayProcess, Triton

pytestmark = pytest.mark.slow

ONES, COUNTING = np.ones((1, 16), np.int32), np.arange(16, dtype=np.int32).reshape(1, 16)


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[Any]:
    """The client as its users make it."""
    with tritonclient.grpc.InferenceServerClient(gateway.grpc) as made:
        yield made


@pytest.fixture
def direct(triton: Triton) -> Iterator[Any]:
    """The same client at Triton itself, to compare with."""
    with tritonclient.grpc.InferenceServerClient(triton.grpc) as made:
        yield made


def given(name: str, array: Any, datatype: str) -> Any:
    """One input."""
    made = tritonclient.grpc.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def pair() -> list[Any]:
    """What `simple` takes."""
    return [given("INPUT0", COUNTING, "INT32"), given("INPUT1", ONES, "INT32")]


def repeated(values: list[int], delay: int = 0) -> list[Any]:
    """What `repeat_int32` takes: every value comes back after that many milliseconds."""
    arrays = {"IN": np.array(values, np.int32), "DELAY": np.full(len(values), delay, np.uint32), "WAIT": np.zeros(1, np.uint32)}
    return [given(name, array, "INT32" if name == "IN" else "UINT32") for name, array in arrays.items()]


def wanted(name: str, **how: Any) -> Any:
    """One requested output."""
    return tritonclient.grpc.InferRequestedOutput(name, **how)


def test_health(gateway: GatewayProcess, client: Any) -> None:
    """Server and models are live and ready."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple", headers=gateway.credential)
    assert client.is_model_ready("repeat_int32", "1", headers=gateway.credential)
    assert client.is_model_ready("digits", headers=gateway.credential)


def test_server_metadata(gateway: GatewayProcess, client: Any) -> None:
    """The gateway speaks for itself."""
    assert "penstock" == client.get_server_metadata(headers=gateway.credential).name


@pytest.mark.parametrize("model", ["simple", "simple_string", "simple_identity", "repeat_int32", "identity_bf16"])
def test_model_metadata_and_configuration(gateway: GatewayProcess, client: Any, direct: Any, model: str) -> None:
    """Both say what Triton says."""
    assert direct.get_model_metadata(model) == client.get_model_metadata(model, headers=gateway.credential)
    assert direct.get_model_config(model) == client.get_model_config(model, headers=gateway.credential)
    as_json = client.get_model_metadata(model, "1", headers=gateway.credential, as_json=True)
    assert direct.get_model_metadata(model, "1", as_json=True) == as_json


def test_statistics_count_what_went_through(gateway: GatewayProcess, client: Any) -> None:
    """One more inference, one more success."""
    before = client.get_inference_statistics("simple", headers=gateway.credential).model_stats[0]
    client.infer("simple", pair(), headers=gateway.credential)
    after = client.get_inference_statistics("simple", "1", headers=gateway.credential).model_stats[0]
    assert ("simple", "1") == (after.name, after.version)
    assert before.inference_count + 1 == after.inference_count
    assert before.inference_stats.success.count + 1 == after.inference_stats.success.count


def test_statistics_of_every_model(gateway: GatewayProcess, client: Any) -> None:
    """No name asks for all of them: each public model, none of the backend's own."""
    found = {entry.name for entry in client.get_inference_statistics(headers=gateway.credential).model_stats}
    assert {"simple", "digits", "repeat_int32"} <= found
    assert "digits_fast" not in found


def test_a_version_that_there_is_not(gateway: GatewayProcess, client: Any) -> None:
    """One text for all questions, in the gateway's own words; readiness is asked about like the rest."""
    for version, text in (("99", "model 'simple' has no version '99'"), ("abc", "that is no version of model 'simple'")):
        asks: list[Callable[[], Any]] = [
            lambda version=version: client.infer("simple", pair(), model_version=version, headers=gateway.credential),  # type: ignore[misc]
            lambda version=version: client.is_model_ready("simple", version, headers=gateway.credential),  # type: ignore[misc]
            lambda version=version: client.get_model_metadata("simple", version, headers=gateway.credential),  # type: ignore[misc]
            lambda version=version: client.get_inference_statistics("simple", version, headers=gateway.credential),  # type: ignore[misc]
        ]
        for ask in asks:
            with pytest.raises(InferenceServerException) as refused:
                ask()
            assert refused.value.message().startswith(text)


def test_repository_index_lists_the_public_models(gateway: GatewayProcess, client: Any) -> None:
    """Names of the policy, none of the backend's own, all ready."""
    found = {entry.name: entry.state for entry in client.get_model_repository_index(headers=gateway.credential).models}
    assert {"simple", "digits", "repeat_int32"} <= set(found)
    assert "digits_fast" not in found
    assert {"READY"} == set(found.values())


def test_sum_and_difference_with_either_credential(gateway: GatewayProcess, client: Any) -> None:
    """A key and a token do the same."""
    for credential in (gateway.credential, gateway.bearer()):
        answer = client.infer("simple", pair(), headers=credential)
        assert (COUNTING + ONES).tolist() == answer.as_numpy("OUTPUT0").tolist()
        assert (COUNTING - ONES).tolist() == answer.as_numpy("OUTPUT1").tolist()
        assert ("simple", "1") == (answer.get_response().model_name, answer.get_response().model_version)


def test_outputs_id_version_and_parameters(gateway: GatewayProcess, client: Any) -> None:
    """Only the output asked for comes back, with the request's id; Triton's own parameters go through."""
    answer = client.infer(
        "simple",
        pair(),
        model_version="1",
        outputs=[wanted("OUTPUT1")],
        request_id="question-7",
        priority=1,
        timeout=5_000_000,
        parameters={"note": "x", "count": 3, "flag": True},
        headers=gateway.credential,
    )
    assert "question-7" == answer.get_response().id
    assert ["OUTPUT1"] == [output.name for output in answer.get_response().outputs]
    assert (COUNTING - ONES).tolist() == answer.as_numpy("OUTPUT1").tolist()


def test_classification(gateway: GatewayProcess, client: Any, direct: Any) -> None:
    """The best classes instead of the tensor, as Triton writes them."""
    outputs = [wanted("OUTPUT0", class_count=3), wanted("OUTPUT1", class_count=2)]
    expected = direct.infer("simple", pair(), outputs=outputs)
    answer = client.infer("simple", pair(), outputs=outputs, headers=gateway.credential)
    assert [b"16:15", b"15:14", b"14:13"] == expected.as_numpy("OUTPUT0").ravel().tolist()
    for name in ("OUTPUT0", "OUTPUT1"):
        assert expected.as_numpy(name).tolist() == answer.as_numpy(name).tolist()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression(gateway: GatewayProcess, client: Any, coding: str) -> None:
    """Compressed messages hold the same tensors."""
    texts = np.array([[str(number).encode() for number in range(2000)]], dtype=object)
    answer = client.infer(
        "simple_identity", [given("INPUT0", texts, "BYTES")], compression_algorithm=coding, headers=gateway.credential
    )
    assert texts.tolist() == answer.as_numpy("OUTPUT0").tolist()


def test_text(gateway: GatewayProcess, client: Any) -> None:
    """Numbers spelled out come back added; empty text and other scripts come back as they went."""
    spelled = [np.array([[str(number) for number in array[0]]], dtype=object) for array in (COUNTING, ONES)]
    inputs = [given(f"INPUT{index}", array, "BYTES") for index, array in enumerate(spelled)]
    added = client.infer("simple_string", inputs, headers=gateway.credential).as_numpy("OUTPUT0")
    assert (COUNTING + ONES).ravel().tolist() == [int(value) for value in added.ravel()]
    odd = np.array([["", "żółw", "水", "a\0b"]], dtype=object)
    echo = client.infer("simple_identity", [given("INPUT0", odd, "BYTES")], headers=gateway.credential).as_numpy("OUTPUT0")
    assert odd.ravel().tolist() == [value.decode() for value in echo.ravel()]


def test_async_infer(gateway: GatewayProcess, client: Any) -> None:
    """Many at once over one connection: every answer belongs to its question."""
    answered: queue.Queue[tuple[Any, Any]] = queue.Queue()
    for shift in range(40):
        inputs = [given("INPUT0", COUNTING + shift, "INT32"), given("INPUT1", ONES, "INT32")]
        client.async_infer(
            "simple",
            inputs,
            callback=lambda result, error: answered.put((result, error)),
            request_id=str(shift),
            headers=gateway.credential,
        )
    found = {}
    for _ in range(40):
        result, error = answered.get(timeout=20)
        assert error is None
        found[int(result.get_response().id)] = result.as_numpy("OUTPUT0").tolist()
    assert {shift: (COUNTING + shift + ONES).tolist() for shift in range(40)} == found


def streamed(client: Any, gateway: GatewayProcess, questions: dict[str, list[Any]], model: str) -> list[tuple[Any, Any]]:
    """Everything that one stream with these questions (by id) says."""
    told: list[tuple[Any, Any]] = []
    client.start_stream(callback=lambda result, error: told.append((result, error)), headers=gateway.credential)
    for name, inputs in questions.items():
        client.async_stream_infer(model, inputs, request_id=name)
    client.stop_stream()
    return told


def test_one_question_has_many_answers(gateway: GatewayProcess, client: Any) -> None:
    """Every element comes back on its own, in order, with its index."""
    values = [4, 2, 0, 1, 1000, -7]
    told = streamed(client, gateway, {"one": repeated(values, delay=5)}, "repeat_int32")
    assert [None] * len(values) == [error for _, error in told]
    assert values == [int(result.as_numpy("OUT")[0]) for result, _ in told]
    assert list(range(len(values))) == [int(result.as_numpy("IDX")[0]) for result, _ in told]
    assert {("repeat_int32", "one")} == {(r.get_response().model_name, r.get_response().id) for r, _ in told}


def parameters_told(client: Any, inputs: list[Any], model: str, headers: dict[str, str], empty: bool) -> list[tuple[bool, int]]:
    """Of each answer in a stream: whether it says that it is the last, and how many outputs it has."""
    told: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(callback=lambda result, error: told.put((result, error)), headers=headers)
    client.async_stream_infer(model, inputs, request_id="q", enable_empty_final_response=empty)
    client.stop_stream()
    found = []
    while not told.empty():
        result, error = told.get()
        assert error is None
        response = result.get_response()
        assert "triton_final_response" in response.parameters
        found.append((response.parameters["triton_final_response"].bool_param, len(response.outputs)))
    return found


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("model", ["simple", "repeat_int32"])
def test_the_last_answer_says_so(gateway: GatewayProcess, client: Any, direct: Any, model: str, empty: bool) -> None:
    """As Triton tells it: a client that waits for the final response gets one, empty only where the model streams."""
    inputs = pair() if model == "simple" else repeated([1, 2])
    expected = parameters_told(direct, inputs, model, {}, empty)
    assert (empty or model == "simple") is expected[-1][0]
    assert expected == parameters_told(client, inputs, model, gateway.credential, empty)


@pytest.mark.parametrize("empty", [False, True])
def test_the_only_answer_of_a_cascade_is_the_last(gateway: GatewayProcess, client: Any, empty: bool) -> None:
    """One answer, marked as final, with all its outputs."""
    inputs = [given("image", np.zeros((3, 64), np.float32), "FP32")]
    assert [(True, 2)] == parameters_told(client, inputs, "digits", gateway.credential, empty)


def test_several_questions_share_a_stream(gateway: GatewayProcess, client: Any) -> None:
    """Each gets all of its own answers, under its own id; a question without elements gets none."""
    questions = {"a": [1, 2, 3], "none": [], "b": list(range(50)), "c": [9]}
    told = streamed(client, gateway, {name: repeated(values) for name, values in questions.items()}, "repeat_int32")
    found: dict[str, list[int]] = {name: [] for name in questions}
    for result, error in told:
        assert error is None
        found[result.get_response().id].append(int(result.as_numpy("OUT")[0]))
    assert questions == found


def test_a_stream_carries_ordinary_models(gateway: GatewayProcess, client: Any) -> None:
    """A model with one answer gives one answer to each question of a stream; a cascade, too."""
    told = streamed(client, gateway, {"x": pair(), "y": pair()}, "simple")
    assert [(COUNTING + ONES).tolist()] * 2 == [result.as_numpy("OUTPUT0").tolist() for result, _ in told]
    told = streamed(client, gateway, {"z": [given("image", np.zeros((3, 64), np.float32), "FP32")]}, "digits")
    assert [(3, 10)] == [result.as_numpy("probabilities").shape for result, _ in told]


def test_a_stream_outlives_a_bad_question(gateway: GatewayProcess, client: Any) -> None:
    """The error reaches the callback, and the next question is answered."""
    lengths_differ = [repeated([1])[0], repeated([1, 2])[1], repeated([1])[2]]
    told = streamed(client, gateway, {"bad": lengths_differ, "unknown": pair(), "good": repeated([5])}, "repeat_int32")
    assert 3 == len(told)
    assert all(isinstance(error, InferenceServerException) for _, error in told[:2])
    assert 5 == int(told[2][0].as_numpy("OUT")[0])


def test_a_stream_without_credential_ends(gateway: GatewayProcess, client: Any) -> None:
    """Nobody's stream is told so by status."""
    told: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(callback=lambda result, error: told.put((result, error)))
    client.async_stream_infer("repeat_int32", repeated([1]))
    result, error = told.get(timeout=10)
    assert result is None
    assert "StatusCode.UNAUTHENTICATED" == error.status()
    client.stop_stream()


WRONG = np.ones((1, 15), np.int32)


@pytest.mark.parametrize(
    ("inputs", "model", "version", "status"),
    [
        (pair(), "nope", "", "NOT_FOUND"),
        (pair(), "simple", "99", "NOT_FOUND"),
        (pair()[:1], "simple", "", "INVALID_ARGUMENT"),
        ([pair()[0], given("INPUT1", WRONG, "INT32")], "simple", "", "INVALID_ARGUMENT"),
        ([pair()[0], given("INPUT1", ONES.astype(np.float32), "FP32")], "simple", "", "INVALID_ARGUMENT"),
        ([*pair(), given("INPUT2", ONES, "INT32")], "simple", "", "INVALID_ARGUMENT"),
        (repeated([1]), "repeat_int32", "", "UNIMPLEMENTED"),
    ],
)
def test_bad_requests(gateway: GatewayProcess, client: Any, inputs: list[Any], model: str, version: str, status: str) -> None:
    """Each is an InferenceServerException with its status and a sentence; a decoupled model wants a stream."""
    with pytest.raises(InferenceServerException) as refused:
        client.infer(model, inputs, model_version=version, headers=gateway.credential)
    assert f"StatusCode.{status}" == refused.value.status()
    assert refused.value.message()


def test_credentials_are_demanded(gateway: GatewayProcess, client: Any) -> None:
    """None or a wrong one: UNAUTHENTICATED; one that may not use this model: PERMISSION_DENIED, wherever it asks."""
    wrong: list[dict[str, str]] = [{}, {"x-api-key": "pk_wrong"}, gateway.bearer(aud="others"), gateway.bearer(exp=1)]
    for headers in wrong:
        with pytest.raises(InferenceServerException) as refused:
            client.infer("simple", pair(), headers=headers)
        assert "StatusCode.UNAUTHENTICATED" == refused.value.status()
    narrow = gateway.bearer(scope="models:infer:simple_string")
    asks: list[Callable[[], Any]] = [
        lambda: client.infer("simple", pair(), headers=narrow),
        lambda: client.get_model_config("simple", headers=narrow),
    ]
    for ask in asks:
        with pytest.raises(InferenceServerException) as refused:
            ask()
        assert "StatusCode.PERMISSION_DENIED" == refused.value.status()
    assert ["simple_string"] == [entry.name for entry in client.get_model_repository_index(headers=narrow).models]


def test_what_only_operators_may_do(gateway: GatewayProcess, client: Any) -> None:
    """Repository control, shared memory, trace and log settings are refused, and nothing reached Triton."""
    headers = gateway.credential
    refused_calls: dict[str, list[Callable[[], Any]]] = {
        "PERMISSION_DENIED": [
            lambda: client.load_model("simple", headers=headers),
            lambda: client.unload_model("simple", headers=headers),
            lambda: client.update_trace_settings(settings={"trace_level": ["OFF"]}, headers=headers),
            lambda: client.update_log_settings({"log_verbose_level": 1}, headers=headers),
        ],
        "UNIMPLEMENTED": [
            lambda: client.register_system_shared_memory("x", "/x", 64, headers=headers),
            lambda: client.get_cuda_shared_memory_status(headers=headers),
        ],
    }
    for status, calls in refused_calls.items():
        for ask in calls:
            with pytest.raises(InferenceServerException) as refused:
                ask()
            assert f"StatusCode.{status}" == refused.value.status()
    assert client.is_model_ready("simple", headers=headers)


def test_shared_memory_inputs_are_refused(gateway: GatewayProcess, client: Any) -> None:
    """A region's name in a request would read another process's memory."""
    shared = tritonclient.grpc.InferInput("INPUT0", [1, 16], "INT32")
    shared.set_shared_memory("region", 64)
    with pytest.raises(InferenceServerException, match="shared memory") as refused:
        client.infer("simple", [shared, pair()[1]], headers=gateway.credential)
    assert "StatusCode.INVALID_ARGUMENT" == refused.value.status()
