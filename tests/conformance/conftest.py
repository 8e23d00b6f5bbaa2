"""Ends the connections of tests that speak the protocol by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance import raw, wire
from tests.conformance.raw import Gate
from tests.real_parts import Triton


@pytest.fixture(scope="session", autouse=True)
def hung_up(triton: Triton) -> Iterator[None]:
    """No connection outlives the tests: Triton's stop would wait for it."""
    yield
    wire.close()


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with the usual limits before a backend that keeps what it is sent."""
    with raw.gate(tmp_path_factory.mktemp("gate")) as made:
        yield made
