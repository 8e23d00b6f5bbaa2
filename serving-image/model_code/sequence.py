"""`simple_sequence`: Triton's stateful example, INPUT back as OUTPUT, plus one where a sequence starts."""

from typing import Any

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INPUT int32 [n, 1] to OUTPUT int32 [n, 1]; START [n, 1] comes from Triton's sequence batcher."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request of the sequences that have one waiting."""
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", started(request))]) for request in requests]


def started(request: Any) -> Any:
    """Return INPUT + START."""
    values, start = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("INPUT", "START"))
    return values + start.reshape(values.shape)
