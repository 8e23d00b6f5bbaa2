"""The record of a finished request is a value."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.telemetry.record import RequestRecord


def test_record_cannot_be_changed(finished: Callable[..., RequestRecord]) -> None:
    """Metrics and the log are told the same: nobody in between can change it."""
    with pytest.raises(AttributeError):
        finished().code = "500"  # type: ignore[misc]
