"""`scheduled`: takes as long as it is told, one request at a time, so that the order and limits of Triton's queue can be seen."""

import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """MILLISECONDS uint32 [n, 1] to TURN uint32 [n, 1]: how many requests were worked on before this one."""

    def initialize(self, args: dict[str, str]) -> None:
        """Nobody yet."""
        self.turn = 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """Work on each request, one after the other."""
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """Sleep, and say whose turn it was."""
        milliseconds = pb_utils.get_input_tensor_by_name(request, "MILLISECONDS").as_numpy()
        turn, self.turn = self.turn, self.turn + 1
        time.sleep(int(milliseconds[0, 0]) / 1000)
        return pb_utils.InferenceResponse([pb_utils.Tensor("TURN", np.full_like(milliseconds, turn))])
