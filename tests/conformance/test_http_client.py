"""Triton's own HTTP client, unchanged, against the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.real_parts import GatewayProcess, Triton, until

pytestmark = pytest.mark.slow

ONES, COUNTING = np.ones((1, 16), np.int32), np.arange(16, dtype=np.int32).reshape(1, 16)


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[Any]:
    """The client as its users make it."""
    with tritonclient.http.InferenceServerClient(gateway.http) as made:
        yield made


@pytest.fixture
def direct(triton: Triton) -> Iterator[Any]:
    """The same client at Triton itself, to compare with."""
    with tritonclient.http.InferenceServerClient(triton.http) as made:
        yield made


def given(name: str, array: Any, datatype: str, binary: bool = True) -> Any:
    """One input."""
    made = tritonclient.http.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def pair(binary: bool = True) -> list[Any]:
    """What `simple` takes: sums are 1…16, differences -1…14 (turned round)."""
    return [given("INPUT0", COUNTING, "INT32", binary), given("INPUT1", ONES, "INT32", binary)]


def wanted(name: str, **how: Any) -> Any:
    """One requested output."""
    return tritonclient.http.InferRequestedOutput(name, **how)


def test_health(gateway: GatewayProcess, client: Any) -> None:
    """Server and models are live and ready; an unknown model is not."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple", headers=gateway.credential)
    assert client.is_model_ready("simple", "1", headers=gateway.credential)
    assert client.is_model_ready("digits", headers=gateway.credential)
    assert not client.is_model_ready("nope", headers=gateway.credential)


def test_server_metadata(gateway: GatewayProcess, client: Any) -> None:
    """The gateway speaks for itself, and names the extensions it carries."""
    found = client.get_server_metadata(headers=gateway.credential)
    assert "penstock" == found["name"]
    assert {"classification", "binary_tensor_data"} <= set(found["extensions"])


@pytest.mark.parametrize("model", ["simple", "simple_string", "simple_identity", "repeat_int32", "identity_bf16"])
def test_model_metadata_and_configuration(gateway: GatewayProcess, client: Any, direct: Any, model: str) -> None:
    """Both say what Triton says."""
    assert direct.get_model_metadata(model) == client.get_model_metadata(model, headers=gateway.credential)
    assert direct.get_model_config(model) == client.get_model_config(model, headers=gateway.credential)
    assert direct.get_model_metadata(model, "1") == client.get_model_metadata(model, "1", headers=gateway.credential)


def test_metadata_of_a_cascade_is_the_first_stages(gateway: GatewayProcess, client: Any, direct: Any) -> None:
    """Under the public name: clients need not know who answers."""
    found = client.get_model_metadata("digits", headers=gateway.credential)
    assert {**direct.get_model_metadata("digits_fast"), "name": "digits", "versions": ["1"]} == found
    assert "digits" == client.get_model_config("digits", headers=gateway.credential)["name"]


def test_statistics_count_what_went_through(gateway: GatewayProcess, client: Any) -> None:
    """One more inference, one more success."""
    before = client.get_inference_statistics("simple", headers=gateway.credential)["model_stats"][0]
    client.infer("simple", pair(), headers=gateway.credential)

    def after() -> Any:
        return client.get_inference_statistics("simple", "1", headers=gateway.credential)["model_stats"][0]

    until(lambda: before["inference_count"] < after()["inference_count"])  # Triton may count after it has answered
    found = after()
    assert ("simple", "1") == (found["name"], found["version"])
    assert before["inference_count"] + 1 == found["inference_count"]
    assert before["inference_stats"]["success"]["count"] + 1 == found["inference_stats"]["success"]["count"]


def test_statistics_of_every_model(gateway: GatewayProcess, client: Any) -> None:
    """No name asks for all of them: each public model, none of the backend's own."""
    found = {entry["name"] for entry in client.get_inference_statistics(headers=gateway.credential)["model_stats"]}
    assert {"simple", "digits", "repeat_int32"} <= found
    assert "digits_fast" not in found


@pytest.mark.parametrize(
    ("version", "status", "text"),
    [
        ("99", "404", "model 'simple' has no version '99'"),
        ("abc", "400", "that is no version"),
        ("-1", "400", "that is no version"),
    ],
)
def test_a_version_that_there_is_not(gateway: GatewayProcess, client: Any, version: str, status: str, text: str) -> None:
    """Inference, metadata, configuration and statistics say the same, in the gateway's own words; none is ready."""
    asks: list[Callable[[], Any]] = [
        lambda: client.infer("simple", pair(), model_version=version, headers=gateway.credential),
        lambda: client.get_model_metadata("simple", version, headers=gateway.credential),
        lambda: client.get_model_config("simple", version, headers=gateway.credential),
        lambda: client.get_inference_statistics("simple", version, headers=gateway.credential),
    ]
    for ask in asks:
        with pytest.raises(InferenceServerException) as refused:
            ask()
        assert (status, True) == (refused.value.status(), refused.value.message().startswith(text))
    assert not client.is_model_ready("simple", version, headers=gateway.credential)


def test_no_rows(gateway: GatewayProcess, client: Any) -> None:
    """A batch of none is refused in our own words; where a model takes any number of elements, none is a number."""
    images = [given("image", np.zeros((0, 64), np.float32), "FP32")]
    with pytest.raises(InferenceServerException, match="'image' has no rows; model 'digits' takes 1 to 128") as refused:
        client.infer("digits", images, headers=gateway.credential)
    assert "400" == refused.value.status()
    nothing = given("INPUT0", np.zeros((1, 0), dtype=object), "BYTES")
    assert (1, 0) == client.infer("simple_identity", [nothing], headers=gateway.credential).as_numpy("OUTPUT0").shape


def test_an_output_that_there_is_not(gateway: GatewayProcess, client: Any) -> None:
    """It is refused with the names of those there are."""
    with pytest.raises(InferenceServerException, match="no output 'OUTPUT7'; it gives 'OUTPUT0', 'OUTPUT1'"):
        client.infer("simple", pair(), outputs=[wanted("OUTPUT7")], headers=gateway.credential)


def test_repository_index_lists_the_public_models(gateway: GatewayProcess, client: Any) -> None:
    """Names of the policy, none of the backend's own, all ready."""
    found = {entry["name"]: entry["state"] for entry in client.get_model_repository_index(headers=gateway.credential)}
    assert {"simple", "digits", "repeat_int32"} <= set(found)
    assert "digits_fast" not in found
    assert {"READY"} == set(found.values())


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_sum_and_difference(gateway: GatewayProcess, client: Any, binary_in: bool, binary_out: bool) -> None:
    """Binary and JSON in any mixture."""
    outputs = [wanted("OUTPUT0", binary_data=binary_out), wanted("OUTPUT1", binary_data=not binary_out)]
    answer = client.infer("simple", pair(binary_in), outputs=outputs, headers=gateway.credential)
    assert (COUNTING + ONES).tolist() == answer.as_numpy("OUTPUT0").tolist()
    assert (COUNTING - ONES).tolist() == answer.as_numpy("OUTPUT1").tolist()
    assert ("simple", "1") == (answer.get_response()["model_name"], answer.get_response()["model_version"])


def test_a_token_does_what_a_key_does(gateway: GatewayProcess, client: Any) -> None:
    """Both credentials let the same request in."""
    answer = client.infer("simple", pair(), headers=gateway.bearer())
    assert (COUNTING + ONES).tolist() == answer.as_numpy("OUTPUT0").tolist()


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
        parameters={"note": "x", "weight": 0.5, "count": 3, "flag": True},
        headers=gateway.credential,
    )
    assert "question-7" == answer.get_response()["id"]
    assert ["OUTPUT1"] == [output["name"] for output in answer.get_response()["outputs"]]
    assert (COUNTING - ONES).tolist() == answer.as_numpy("OUTPUT1").tolist()


def test_classification(gateway: GatewayProcess, client: Any, direct: Any) -> None:
    """The best classes instead of the tensor, as Triton writes them."""
    outputs = [wanted("OUTPUT0", class_count=3), wanted("OUTPUT1", class_count=2)]
    expected = direct.infer("simple", pair(), outputs=outputs)
    answer = client.infer("simple", pair(), outputs=outputs, headers=gateway.credential)
    assert [b"16:15", b"15:14", b"14:13"] == expected.as_numpy("OUTPUT0").ravel().tolist()
    for name in ("OUTPUT0", "OUTPUT1"):
        assert expected.as_numpy(name).tolist() == answer.as_numpy(name).tolist()
        assert expected.get_output(name)["datatype"] == answer.get_output(name)["datatype"]


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression(
    gateway: GatewayProcess, client: Any, request_coding: str | None, response_coding: str | None, binary: bool
) -> None:
    """Bodies deflated either way, or both, hold the same tensors; this one is large enough that the answer is deflated, too."""
    texts = np.array([[str(number).encode() for number in range(2000)]], dtype=object)
    answer = client.infer(
        "simple_identity",
        [given("INPUT0", texts, "BYTES", binary)],
        outputs=[wanted("OUTPUT0", binary_data=binary)],
        request_compression_algorithm=request_coding,
        response_compression_algorithm=response_coding,
        headers=gateway.credential,
    )
    assert texts.astype(np.bytes_).tolist() == answer.as_numpy("OUTPUT0").astype(np.bytes_).tolist()  # from JSON it makes `str`


def test_text(gateway: GatewayProcess, client: Any) -> None:
    """Numbers spelled out come back added; empty text and other scripts come back as they went."""
    spelled = [np.array([[str(number) for number in array[0]]], dtype=object) for array in (COUNTING, ONES)]
    inputs = [given(f"INPUT{index}", array, "BYTES") for index, array in enumerate(spelled)]
    added = client.infer("simple_string", inputs, headers=gateway.credential).as_numpy("OUTPUT0")
    assert (COUNTING + ONES).ravel().tolist() == [int(value) for value in added.ravel()]
    odd = np.array([["", "żółw", "水", "a\nb"]], dtype=object)
    echo = client.infer("simple_identity", [given("INPUT0", odd, "BYTES")], headers=gateway.credential).as_numpy("OUTPUT0")
    assert odd.ravel().tolist() == [value.decode() for value in echo.ravel()]


def test_async_infer(gateway: GatewayProcess) -> None:
    """The client's pool of connections gets every answer to its own question."""
    with tritonclient.http.InferenceServerClient(gateway.http, concurrency=4) as client:
        asked = [
            client.async_infer(
                "simple",
                [given("INPUT0", COUNTING + shift, "INT32"), given("INPUT1", ONES, "INT32")],
                request_id=str(shift),
                headers=gateway.credential,
            )
            for shift in range(40)
        ]
        for shift, pending in enumerate(asked):
            answer = pending.get_result()
            assert str(shift) == answer.get_response()["id"]
            assert (COUNTING + shift + ONES).tolist() == answer.as_numpy("OUTPUT0").tolist()


WRONG = np.ones((1, 15), np.int32)


@pytest.mark.parametrize(
    ("inputs", "model", "version", "status"),
    [
        (pair(), "nope", "", "404"),
        (pair(), "simple", "99", "404"),
        (pair()[:1], "simple", "", "400"),
        ([pair()[0], given("INPUT1", WRONG, "INT32")], "simple", "", "400"),
        ([pair()[0], given("INPUT1", ONES.astype(np.float32), "FP32")], "simple", "", "400"),
        ([*pair(), given("INPUT2", ONES, "INT32")], "simple", "", "400"),
        ([given("IN", ONES[0], "INT32")], "repeat_int32", "", "400"),
    ],
)
def test_bad_requests(gateway: GatewayProcess, client: Any, inputs: list[Any], model: str, version: str, status: str) -> None:
    """Each is an InferenceServerException with its status and a sentence."""
    with pytest.raises(InferenceServerException) as refused:
        client.infer(model, inputs, model_version=version, headers=gateway.credential)
    assert status == refused.value.status()
    assert refused.value.message()


def test_credentials_are_demanded(gateway: GatewayProcess, client: Any) -> None:
    """None or a wrong one: 401; one that may not use this model: 403, wherever it asks."""
    wrong: list[dict[str, str]] = [{}, {"X-API-Key": "pk_wrong"}, gateway.bearer(iss="https://other.test"), gateway.bearer(exp=1)]
    for headers in wrong:
        with pytest.raises(InferenceServerException) as refused:
            client.infer("simple", pair(), headers=headers)
        assert "401" == refused.value.status()
    narrow = gateway.bearer(scope="models:infer:simple_string")
    with pytest.raises(InferenceServerException) as refused:
        client.infer("simple", pair(), headers=dict(narrow))
    assert "403" == refused.value.status()
    with pytest.raises(InferenceServerException) as refused:
        client.get_model_metadata("simple", headers=dict(narrow))
    assert "403" == refused.value.status()
    assert ["simple_string"] == [entry["name"] for entry in client.get_model_repository_index(headers=dict(narrow))]


def test_what_only_operators_may_do(gateway: GatewayProcess, client: Any) -> None:
    """Repository control, shared memory, trace and log settings: 403, and nothing reached Triton."""
    headers = gateway.credential
    refused_calls: list[Callable[[], Any]] = [
        lambda: client.load_model("simple", headers=headers),
        lambda: client.unload_model("simple", headers=headers),
        lambda: client.register_system_shared_memory("x", "/x", 64, headers=headers),
        lambda: client.get_system_shared_memory_status(headers=headers),
        lambda: client.get_cuda_shared_memory_status(headers=headers),
        lambda: client.update_trace_settings(settings={"trace_level": ["OFF"]}, headers=headers),
        lambda: client.get_trace_settings(headers=headers),
        lambda: client.update_log_settings({"log_verbose_level": 1}, headers=headers),
    ]
    for ask in refused_calls:
        with pytest.raises(InferenceServerException) as refused:
            ask()
        assert "403" == refused.value.status()
    assert client.is_model_ready("simple", headers=headers)


def test_shared_memory_inputs_and_outputs_are_refused(gateway: GatewayProcess, client: Any) -> None:
    """A region's name in a request would read another process's memory: 400 before Triton sees it."""
    shared = tritonclient.http.InferInput("INPUT0", [1, 16], "INT32")
    shared.set_shared_memory("region", 64)
    into = wanted("OUTPUT0")
    into.set_shared_memory("region", 64)
    for inputs, outputs in (([shared, pair()[1]], None), (pair(), [into])):
        with pytest.raises(InferenceServerException, match="shared memory") as refused:
            client.infer("simple", inputs, outputs=outputs, headers=gateway.credential)
        assert "400" == refused.value.status()
