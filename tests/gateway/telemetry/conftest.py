"""A finished request as the fronts tell of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.telemetry.record import RequestRecord

RECORD = RequestRecord(
    model="digits",
    route="default",
    variant="fast",
    code="200",
    seconds=0.004,
    overhead_seconds=0.0003,
    backend_seconds=0.0037,
    rows=32,
    cost=32.0,
    baseline=1280.0,
    escalation="none",
    shares=(("fast", 32),),
    request_id="r-1",
    method="POST",
    path="/v2/models/digits/infer",
    peer="127.0.0.1:50122",
    subject="svc-a",
    tenant="acme",
    bytes_in=9000,
    bytes_out=1700,
    policy="3f2a9c10",
    reason="",
    traceparent="",
)


@pytest.fixture(scope="session")
def finished() -> Callable[..., RequestRecord]:
    """Makes a record: an ordinary one, but for what is given."""

    def make(**changes: Any) -> RequestRecord:
        return msgspec.structs.replace(RECORD, **changes)

    return make
