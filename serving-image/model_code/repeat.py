"""`repeat_int32`: Triton's decoupled example, one response for each element of IN."""

import threading
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """IN int32 [n], DELAY uint32 [n] and WAIT uint32 [1], both in milliseconds, to n times OUT int32 [1] and IDX uint32 [1]."""

    def initialize(self, args: dict[str, str]) -> None:
        """Keep the threads that still send, to wait for them at the end."""
        self.sending: set[threading.Thread] = set()

    def execute(self, requests: list[Any]) -> None:
        """Start sending, and take the next request after WAIT milliseconds, even while responses are still to come."""
        wait = 0
        for request in requests:
            values, delays, pause = (
                pb_utils.get_input_tensor_by_name(request, name).as_numpy().copy() for name in ("IN", "DELAY", "WAIT")
            )
            sender = request.get_response_sender()
            if values.shape != delays.shape:
                message = f"IN and DELAY must have the same shape, got {list(values.shape)} and {list(delays.shape)}"
                sender.send(
                    pb_utils.InferenceResponse([], pb_utils.TritonError(message)), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
                )
                continue
            wait = max(wait, int(pause[0]))
            thread = threading.Thread(target=send, args=(sender, values, delays))
            self.sending = {other for other in self.sending if other.is_alive()} | {thread}
            thread.start()
        time.sleep(wait / 1000)

    def finalize(self) -> None:
        """Let the last responses out before the instance goes."""
        for thread in self.sending:
            thread.join()


def send(sender: Any, values: Any, delays: Any) -> None:
    """Send each value after its delay, until the client has gone; the last word is the empty final flag."""
    for index, (value, delay) in enumerate(zip(values, delays, strict=True)):
        time.sleep(int(delay) / 1000)
        if sender.is_cancelled():
            break
        outputs = [pb_utils.Tensor("OUT", np.array([value], np.int32)), pb_utils.Tensor("IDX", np.array([index], np.uint32))]
        sender.send(pb_utils.InferenceResponse(outputs))
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
