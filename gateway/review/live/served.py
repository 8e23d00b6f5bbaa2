"""What backends say of the models that a policy names, as values: `ask` gets them, `misfits` judges them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from backends.signature import Input, signature

ModelVersion = tuple[str, str]  # a model's and a version's name at the backend; "" is whatever version the backend chooses


class Served(msgspec.Struct, frozen=True):
    """A model version that is there. What its server does not tell is None, or empty."""

    ready: bool
    inputs: Mapping[str, Input] | None = None
    outputs: Mapping[str, Input] | None = None
    max_batch: int | None = None  # rows of one request; 0: no batch dimension
    versions: tuple[str, ...] = ()
    streams: bool = False


class Missing(msgspec.Struct, frozen=True):
    """There is no such model, but perhaps `others`; or, where other `versions` of it are there, no such version."""

    versions: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class Unheard(msgspec.Struct, frozen=True):
    """The server is there, but what it says of the model could not be had."""

    why: str


class Heard(msgspec.Struct, frozen=True):
    """What one endpoint says. `failure` is why it could not be asked; then it says nothing of models."""

    backend: str
    index: int  # in the backend's `endpoints`
    address: str
    failure: str | None = None
    models: Mapping[ModelVersion, Served | Missing | Unheard] = {}


def served(metadata: Mapping[str, Any], config: Mapping[str, Any] | None, ready: bool) -> Served:
    """From the two descriptions; a server without Triton's extension has no configuration."""
    known = signature(metadata, config or {})
    policy = (config or {}).get("model_transaction_policy")
    return Served(
        ready,
        known.inputs if known else None,
        _outputs(metadata),
        known.max_batch if known and config is not None else None,
        known.versions if known else (),
        isinstance(policy, Mapping) and policy.get("decoupled") is True,
    )


def _outputs(metadata: Mapping[str, Any]) -> Mapping[str, Input] | None:
    """Outputs are described as inputs are."""
    described = signature({"inputs": metadata.get("outputs", ())}, {})
    return described.inputs or None if described else None
