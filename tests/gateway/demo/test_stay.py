"""What `make serve` prints can be pasted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gateway.demo.credentials import Issuer
from gateway.demo.heldout import HeldOut
from gateway.demo.processes import Credentials, Gateway
from gateway.demo.stay import introduction


def test_commands_ask_the_gateway_with_its_key(held_out: HeldOut, tmp_path: Path) -> None:
    """Each body is a question of the protocol; everything needed stands there."""
    process = cast(Any, SimpleNamespace(pid=4711))
    gateway = Gateway(tmp_path, tmp_path / "policy.yaml", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", process)
    text = introduction(gateway, Credentials({"x-api-key": "pk_a_b"}, {"x-api-key": "pk_c_d"}, Issuer()), held_out)
    bodies = [json.loads(body) for body in re.findall(r"-d '(.*)'", text)]
    assert [64, 16] == [len(body["inputs"][0]["data"]) for body in bodies]
    assert 2 == text.count("http://127.0.0.1:1/v2/models/")
    for said in (
        "KEY=pk_a_b",
        "KEY=pk_c_d",
        "edit and save it",
        "kill -HUP 4711",
        "127.0.0.1:2",
        "http://127.0.0.1:3/metrics",
        "Ctrl-C",
    ):
        assert said in text
