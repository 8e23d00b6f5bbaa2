"""`simple_identity` and `identity_<datatype>`: INPUT0 comes back as OUTPUT0, bit for bit."""

import json
from typing import Any

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Any datatype, any shape; no arithmetic anywhere, so NaN payloads and denormals survive."""

    def initialize(self, args: dict[str, str]) -> None:
        """Choose how to pass the tensor on: numpy has no BF16, and DLPack has no BYTES."""
        datatype = json.loads(args["model_config"])["input"][0]["data_type"]
        self.echo = without_numpy if datatype == "TYPE_BF16" else with_numpy

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with its own input."""
        inputs = [pb_utils.get_input_tensor_by_name(request, "INPUT0") for request in requests]
        return [pb_utils.InferenceResponse([self.echo(tensor)]) for tensor in inputs]


def with_numpy(tensor: Any) -> Any:
    """The same elements as OUTPUT0."""
    return pb_utils.Tensor("OUTPUT0", tensor.as_numpy())


def without_numpy(tensor: Any) -> Any:
    """The same memory as OUTPUT0."""
    return pb_utils.Tensor.from_dlpack("OUTPUT0", tensor)
