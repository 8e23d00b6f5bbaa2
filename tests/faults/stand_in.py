"""A backend process that answers, fails or resets, as signals tell it: `python -m tests.faults.stand_in PROTOCOL PORT`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2

from tests.features.oip_server import Server, failing, resetting

MODEL = "digits_fast"
WELL, FAILS, RESETS = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2


async def over_http(port: int, told: Callable[..., None]) -> None:
    """Serves the digits models over HTTP."""
    server = Server()
    told(WELL, lambda: server.scripts.clear())
    told(FAILS, lambda: server.scripts.update({MODEL: failing(500)}))
    told(RESETS, lambda: server.scripts.update({MODEL: resetting}))
    await server.start(port)
    await asyncio.Event().wait()


class OverGrpc:
    """Serves one model that gives its input back, over gRPC."""

    def __init__(self) -> None:
        self.failing = False

    async def infer(self, asked: service_pb2.ModelInferRequest, rpc: Any) -> service_pb2.ModelInferResponse:
        """The answer, or a failure."""
        if self.failing:
            await rpc.abort(grpc.StatusCode.INTERNAL, "no")
        answer = service_pb2.ModelInferResponse(model_name=asked.model_name, model_version="1")
        answer.outputs.add(name="label", datatype="FP32", shape=[1, 4])
        answer.raw_output_contents.append(asked.raw_input_contents[0])
        return answer

    async def ready(self, _: object, rpc: Any) -> service_pb2.ModelReadyResponse:
        """Always; the server's answer looks the same."""
        return service_pb2.ModelReadyResponse(ready=True)


async def over_grpc(port: int, told: Callable[..., None]) -> None:
    """Serves until killed."""
    served = OverGrpc()
    told(WELL, lambda: setattr(served, "failing", False))
    told(FAILS, lambda: setattr(served, "failing", True))

    def method(name: str, does: Any) -> Any:
        request = getattr(service_pb2, f"{name}Request")
        return grpc.unary_unary_rpc_method_handler(does, request.FromString, lambda answer: answer.SerializeToString())

    methods = {"ModelInfer": served.infer, "ModelReady": served.ready, "ServerReady": served.ready}
    handlers = {name: method(name, does) for name, does in methods.items()}
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


async def main(protocol: str, port: int) -> None:
    """Serves until killed."""
    loop = asyncio.get_running_loop()
    serve = over_http if protocol == "triton-http" else over_grpc
    await serve(port, loop.add_signal_handler)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
