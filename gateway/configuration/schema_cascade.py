"""The policy document's cascades as frozen values: how sure an answer is, and how far unsure rows go up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from gateway.configuration.problems import UnreadableError, shown
from gateway.configuration.quantities import read_share
from gateway.configuration.readers import Name, read_number
from gateway.configuration.readers_confidence import read_metric, read_path
from gateway.configuration.schema_audit import Audit
from gateway.configuration.schema_costs import EscalationBudget

Knot = tuple[float, float]


def read_knot(value: object) -> Knot:
    """`[raw score, chance of being right]`. Raises UnreadableError."""
    if not isinstance(value, list) or len(value) != 2:
        raise UnreadableError(f"{shown(value)} is not a knot; write [raw score, chance of being right], as in [0.9, 0.98]")
    raw, chance = (read_number(each) for each in value)
    if not 0 <= chance <= 1:
        raise UnreadableError(f"{chance:g} is no chance of being right: it lies between 0 and 1")
    return raw, chance


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a raw score is worth, by the label that is predicted; `penstock calibrate` prints it."""

    maps: Mapping[str, tuple[Annotated[Knot, read_knot], ...]]
    label: str | None = None


class Confidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How sure a stage's answer is. With `output:<name>` as the metric that output is the confidence itself."""

    metric: Annotated[str, read_metric]
    output: str | None = None
    logits: bool = False
    path: Annotated[str, read_path] | None = None
    calibration: Calibration | None = None


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a cascade: rows at least `accept` sure stay with it."""

    use: Name
    accept: Annotated[float, read_number] | None = None
    calibration: Calibration | None = None


class Cascade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cheap variants first; only unsure rows go on to dearer ones."""

    confidence: Confidence
    stages: tuple[Stage, ...]
    speculate: Annotated[float, read_share] | None = None
    budget: EscalationBudget | None = None
    audit: Audit | None = None
