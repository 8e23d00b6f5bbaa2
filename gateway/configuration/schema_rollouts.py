"""The parts of a policy document's rollouts as frozen values: the steps of a ramp, and what must not become worse on it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.configuration.quantities import read_share
from gateway.configuration.readers import Count, Duration, one_of, read_number

LATENCIES = {"latency-p75": 0.75, "latency-p90": 0.9, "latency-p95": 0.95, "latency-p99": 0.99, "latency-p99.5": 0.995}
ANSWERS = ("unparseable-rate", "guardrail-rate")  # of what stands in the answers
DISAGREEMENT, THUMBS_DOWN = "disagreement", "thumbs-down"
GUARDS = ("error-rate", "timeout-rate", "latency", *LATENCIES, *ANSWERS, DISAGREEMENT, THUMBS_DOWN)
PROOFS = ("mirror", "time", "person")


class RolloutStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A weight, and how long and for how many of the candidate's requests it is held at least."""

    weight: Annotated[float, read_share]
    hold: Duration = 0.0
    samples: Count | None = None


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that must not become worse by more than is tolerated."""

    metric: Annotated[str, one_of(GUARDS)]
    max_increase: Annotated[float, read_share] = 0.0
    max_ratio: Annotated[float, read_number] | None = None
    max: Annotated[float, read_share] | None = None
    output: str | None = None
