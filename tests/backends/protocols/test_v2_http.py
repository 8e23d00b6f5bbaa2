"""What questions and answers of the Open Inference Protocol's HTTP form have in common."""

from __future__ import annotations

from backends.protocols.v2_http import error_text


def test_error_text() -> None:
    """Only an error object has a text."""
    assert error_text(b'{"error":"no"}') == "no"
    assert [error_text(body) for body in (b"[]", b"", b"\xff", b'"error"')] == [""] * 4
