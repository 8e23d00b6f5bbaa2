"""What `make serve` prints: where everything is, commands to paste, how to stop."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gateway.demo.heldout import HeldOut
from gateway.demo.policy import MODEL
from gateway.demo.processes import Credentials, Gateway


def introduction(gateway: Gateway, credentials: Credentials, held_out: HeldOut) -> str:
    """The whole text; the digit in it is the first held-out one."""
    digit, label = held_out.images[0], int(held_out.labels[0])
    image = [{"name": "image", "datatype": "FP32", "shape": [1, 64], "data": [round(float(value), 4) for value in digit]}]
    numbers = [{"name": name, "datatype": "INT32", "shape": [1, 16], "data": list(range(16))} for name in ("INPUT0", "INPUT1")]
    url = f"http://{gateway.http}/v2"
    return f"""
Penstock is up in front of a real Triton.

  inference, HTTP   {url}
  inference, gRPC   {gateway.grpc}
  metrics           http://{gateway.admin}/metrics   (also /healthz, /readyz)
  policy            {gateway.policy}
                    edit and save it: it is in force at once; `tail -f` the gateway's log to see, or before that
                    check it:  .venv/bin/penstock policy check {gateway.policy}
                    go back, as an operator (scope models:admin):
                    export PENSTOCK_API_KEY=$(.venv/bin/penstock keys new --subject me --scope models:admin \\
                      --file {gateway.folder / "api-keys.yaml"} 2>/dev/null); kill -HUP {gateway.process.pid}
                    .venv/bin/penstock policy history --admin http://{gateway.admin}
  gateway's log     {gateway.folder / "gateway.log"}
  requests' log     {gateway.access_log}

Paste, to ask who wrote this {label} (-i shows which model answered and what it cost):

KEY={credentials.free["x-api-key"]}
curl -i -H "X-API-Key: $KEY" {url}/models/{MODEL}/infer -d '{_body(image)}'

Triton's example `simple` adds and subtracts:

curl -H "X-API-Key: $KEY" {url}/models/simple/infer -d '{_body(numbers)}'

A key of the tier `enterprise`, to which the policy gives the accurate model:

KEY={credentials.enterprise["x-api-key"]}

Both keys end with this process. Stop: Ctrl-C.
"""


def _body(inputs: Sequence[object]) -> str:
    return json.dumps({"inputs": inputs}, separators=(",", ":"))
