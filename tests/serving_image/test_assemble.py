"""The model repository says what clients of the examples expect, and each model gets its own code and weights."""

import re
from pathlib import Path
from typing import Any

import assemble
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

DIGITS = ("digits_fast", "digits_balanced", "digits_accurate")
CONFIGS = dict(assemble.configs())


def parsed(name: str) -> Any:
    """The model's config.pbtxt as Triton's own message."""
    return text_format.Parse(CONFIGS[name], model_config_pb2.ModelConfig())


def tensors(listed: Any) -> dict[str, tuple[str, list[int]]]:
    """Name to datatype and dims."""
    return {tensor.name: (model_config_pb2.DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in listed}


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_config_is_one_triton_reads(name: str) -> None:
    """Each config parses as Triton's message, bears its folder's name, and asks for code that exists."""
    config = parsed(name)
    assert (name, "python", 1) == (config.name, config.backend, config.instance_group[0].count)
    assert (assemble.CODE / assemble.code_of(CONFIGS[name])).exists()


@pytest.mark.parametrize("name", DIGITS)
def test_the_digit_models_have_one_interface(name: str) -> None:
    """Rows of 64 pixels come in, ten probabilities and one label per row go out, batched dynamically and warmed up."""
    config = parsed(name)
    assert {"image": ("TYPE_FP32", [64])} == tensors(config.input)
    assert {"probabilities": ("TYPE_FP32", [10]), "label": ("TYPE_INT64", [1])} == tensors(config.output)
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    assert [1, 32] == [warmup.batch_size for warmup in config.model_warmup]


def test_the_accurate_model_serves_all_its_versions() -> None:
    """A canary needs the old and the new version at once."""
    assert parsed("digits_accurate").version_policy.HasField("all")


@pytest.mark.parametrize(("name", "datatype"), [("simple", "TYPE_INT32"), ("simple_string", "TYPE_STRING")])
def test_the_simple_models_are_upstreams(name: str, datatype: str) -> None:
    """Two inputs and two outputs of sixteen elements, as Triton's example clients send and expect them."""
    config = parsed(name)
    assert 8 == config.max_batch_size
    assert {"INPUT0": (datatype, [16]), "INPUT1": (datatype, [16])} == tensors(config.input)
    assert {"OUTPUT0": (datatype, [16]), "OUTPUT1": (datatype, [16])} == tensors(config.output)


def test_the_repeat_model_is_upstreams() -> None:
    """Decoupled and without a batch dimension, with the tensors of Triton's example."""
    config = parsed("repeat_int32")
    assert config.model_transaction_policy.decoupled
    assert 0 == config.max_batch_size
    assert {"IN": ("TYPE_INT32", [-1]), "DELAY": ("TYPE_UINT32", [-1]), "WAIT": ("TYPE_UINT32", [1])} == tensors(config.input)
    assert {"OUT": ("TYPE_INT32", [1]), "IDX": ("TYPE_UINT32", [1])} == tensors(config.output)


def test_there_is_an_identity_for_every_datatype() -> None:
    """All fourteen datatypes of the Open Inference Protocol can be sent through and compared."""
    known = set(model_config_pb2.DataType.keys()) - {"TYPE_INVALID"}
    assert known == set(assemble.DATATYPES.values())
    for name, datatype in assemble.DATATYPES.items():
        assert {"INPUT0": (datatype, [-1])} == tensors(parsed(f"identity_{name}").input)


def test_assembling_gives_each_version_its_weights_and_replaces_what_was_there(tmp_path: Path) -> None:
    """Two weight files make two versions with the shared code; a model without weights gets version 1; old files go."""
    weights, target = tmp_path / "weights", tmp_path / "repository"
    for model, version in (("digits_fast", "1"), ("digits_accurate", "1"), ("digits_accurate", "2")):
        (weights / model).mkdir(parents=True, exist_ok=True)
        (weights / model / f"{version}.safetensors").write_text(f"{model} {version}")
    (target / "gone").mkdir(parents=True)

    assert len(CONFIGS) == assemble.assemble(weights, target)
    assert set(CONFIGS) == {folder.name for folder in target.iterdir()}
    assert "digits_accurate 2" == (target / "digits_accurate" / "2" / "weights.safetensors").read_text()
    assert {"model.py", "models.py", "weights.safetensors"} == {file.name for file in (target / "digits_fast" / "1").iterdir()}
    assert {"model.py"} == {file.name for file in (target / "simple" / "1").iterdir()}


def test_a_config_without_code_is_refused() -> None:
    """The error shows the line that is missing."""
    with pytest.raises(ValueError, match=re.escape('key: "code"')):
        assemble.code_of('name: "x"')


@pytest.mark.parametrize("name", [*DIGITS, "scheduled"])
def test_queues_obey_a_request_s_own_timeout(name: str) -> None:
    """Triton 2.51 obeys it only where it is shorter than the default, and no default is none."""
    queue = parsed(name).dynamic_batching.default_queue_policy
    assert queue.allow_timeout_override
    assert queue.default_timeout_microseconds >= 30_000_000
