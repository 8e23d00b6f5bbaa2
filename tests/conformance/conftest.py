"""Ends the connections of tests that speak the protocol by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance import wire
from tests.real_parts import Triton


@pytest.fixture(scope="session", autouse=True)
def hung_up(triton: Triton) -> Iterator[None]:
    """No connection outlives the tests: Triton's stop would wait for it."""
    yield
    wire.close()
