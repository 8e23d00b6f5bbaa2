"""Whose a request is."""

from __future__ import annotations

from gateway.experiment.words import owner
from routing.principal import Principal


def test_a_tenant_owns_what_its_subjects_ask() -> None:
    """Whoever has no tenant owns its own; a tenant of a subject's name is somebody else."""
    assert owner(Principal("ann", "acme")) == owner(Principal("bob", "acme"))
    assert 3 == len({owner(Principal("ann")), owner(Principal("bob")), owner(Principal("x", "ann"))})
