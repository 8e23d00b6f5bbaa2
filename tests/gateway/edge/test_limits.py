"""The edge's limits: one set of names with the configuration, and a share for each process."""

from __future__ import annotations

from msgspec import structs

from backends.inference import LARGEST_ANSWER
from gateway.configuration.schema_gateway import Limits as Configured
from gateway.edge.limits import Limits


def test_the_configuration_has_the_same_names_and_defaults() -> None:
    """What an operator does not write is what the edge would do anyway; only the sweep is the edge's own."""
    assert Limits() == Limits(**structs.asdict(Configured()))
    assert Limits().answer == LARGEST_ANSWER


def test_connections_are_spread_over_processes() -> None:
    """Each has its part of them, rounded up, and everything else in full."""
    spread = Limits(connections=10, connections_per_address=6, unsent=100).of_each(3)
    assert Limits(connections=4, connections_per_address=2, unsent=34) == spread
    assert Limits(connections=10, connections_per_address=None) == Limits(connections=10, connections_per_address=None).of_each(1)
