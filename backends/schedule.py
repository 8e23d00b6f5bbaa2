"""Tells a Triton how long a question may wait in its queue and how much it matters, where the model's configuration lets it.

Sources: Triton's schedule policy extension (`timeout` in microseconds, `priority` with 1 the highest), and ModelQueuePolicy and
ModelDynamicBatching in model_config.proto. A question that has waited too long is refused there, so that it is not worked on in
vain. Triton 2.51 obeys a `timeout` only where it is shorter than the model's default_timeout_microseconds, which is 0 unless set.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

import msgspec
from msgspec.structs import replace

from backends.deadline import Deadline
from backends.inference import InferenceRequest, Parameter

PRIORITIES = 10  # of X-Priority
EXPIRED = "Request timeout expired"  # Triton's words for a question that has waited too long
_NEARLY = 0.02  # seconds before a deadline; when it has expired then, that was the deadline's doing


class Schedule(msgspec.Struct, frozen=True, gc=False):
    """What one model's queue obeys: a question's own `timeout`; so many `levels` of priority, 0 for none."""

    timeout: bool
    levels: int


Schedules = dict[str, Schedule]
"""By the model's name at its backend; models that obey nothing are not in it, and their questions go on as they came."""


def schedule(config: Mapping[str, Any]) -> Schedule | None:
    """What a model's configuration says of it; None for nothing, or what is no configuration."""
    try:
        batching = config.get("dynamic_batching") or {}
        levels = int(batching.get("priority_levels", 0))
        queues = [batching.get("default_queue_policy") or {}, *(batching.get("priority_queue_policy") or {}).values()]
        timeout = any(queue.get("allow_timeout_override") is True for queue in queues)
    except (AttributeError, TypeError, ValueError):
        return None
    return Schedule(timeout, levels) if timeout or levels > 0 else None


def scheduled(request: InferenceRequest, schedules: Schedules, deadline: Deadline) -> InferenceRequest:
    """The question with what remains of its time and with its priority; what the client says itself goes first, if it is less."""
    found = schedules.get(request.model)
    if found is None:
        return request
    more: dict[str, Parameter] = {}
    given = request.parameters
    if found.timeout:
        remaining, own = max(1, int(deadline.remaining(monotonic()) * 1e6)), given.get("timeout")
        more["timeout"] = min(own, remaining) if isinstance(own, int) and own else remaining
    if found.levels and request.priority is not None and "priority" not in given:
        more["priority"] = 1 + request.priority * found.levels // PRIORITIES
    return replace(request, parameters={**given, **more}) if more else request


def out_of_time(text: str, deadline: Deadline) -> bool:
    """Whether a refusal in these words means that the deadline has come."""
    return text.endswith(EXPIRED) and deadline.remaining(monotonic()) < _NEARLY
