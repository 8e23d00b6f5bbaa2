"""The record of one request."""

from __future__ import annotations

from gateway.telemetry.record import RequestRecord


def test_a_new_record_knows_nothing() -> None:
    """What nobody fills in is empty or nought, so that a request that ended early tells no lies."""
    record = RequestRecord("r-1", "POST", "/v2", "127.0.0.1")
    assert ("", "", "", 0.0, 0, ()) == (record.model, record.route, record.code, record.cost, record.rows, record.shares)
