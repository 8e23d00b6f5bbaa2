"""`simple` and `simple_string`: the sum and the difference of two inputs, which Triton's example clients check."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INPUT0 and INPUT1, both [n, 16], to OUTPUT0 (sum) and OUTPUT1 (difference), as numbers or as decimal digits."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request for itself; text that is no number fails that request alone."""
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """One request's response, or its error."""
        first, second = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("INPUT0", "INPUT1"))
        try:
            results = (added(first, second), added(first, second, sign=-1))
        except ValueError as error:
            return pb_utils.InferenceResponse([], pb_utils.TritonError(f"inputs must be decimal integers: {error}"))
        tensors = [pb_utils.Tensor(f"OUTPUT{index}", result) for index, result in enumerate(results)]
        return pb_utils.InferenceResponse(tensors)


def added(first: Any, second: Any, sign: int = 1) -> Any:
    """Return first + sign · second; BYTES elements are added as the integers they spell."""
    if first.dtype != np.object_:
        return first + np.int32(sign) * second
    numbers = first.astype(np.int64) + sign * second.astype(np.int64)
    return numbers.astype(np.bytes_).astype(np.object_)
