"""What a request reads of the policy."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from backends.errors import ErrorKind, InferenceError
from backends.rules import Rules

if TYPE_CHECKING:
    from tests.gateway.conftest import Fake


def test_models_by_their_public_names(fake: Fake) -> None:
    """A model by its name, never by its backend's; an unknown one says where to look."""
    snapshot = fake.snapshot()
    assert "digits" == snapshot.model("digits").name
    for name in ("b_fast", "Digits", ""):
        with pytest.raises(InferenceError, match="repository/index") as caught:
            snapshot.model(name)
        assert (ErrorKind.NOT_FOUND, "client") == (caught.value.kind, caught.value.source)


def test_models_by_their_aliases(fake: Fake) -> None:
    """An alias leads to its model; what nobody declared leads nowhere."""
    snapshot = dataclasses.replace(fake.snapshot(), aliases={"mnist": "digits"})
    assert snapshot.models["digits"] is snapshot.model("mnist")
    with pytest.raises(InferenceError, match="unknown model 'minst'"):
        snapshot.model("minst")


def test_who_streams(fake: Fake) -> None:
    """Only gRPC carries more than one answer."""
    assert not fake.snapshot().streams(fake.fast)
    fake.protocol = "triton-grpc"
    assert fake.snapshot().streams(fake.fast)


def test_specs_are_compared_by_value() -> None:
    """Equal specs are the same cluster to a reload."""
    from gateway.snapshot import ClusterSpec

    one, other = (ClusterSpec("a", "triton-http", (("h", 1),), "round-robin", Rules(8)) for _ in range(2))
    assert one == other
    assert one != ClusterSpec("a", "triton-http", (("h", 1),), "round-robin", Rules(9))
