"""The policy document's cascades as frozen values: how sure an answer is, and how far unsure rows go up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec

from gateway.configuration.decode import read_text
from gateway.configuration.problems import UnreadableError, shown
from gateway.configuration.quantities import read_share
from gateway.configuration.readers import Name, not_one_of, read_number
from gateway.configuration.schema_audit import Audit
from gateway.configuration.schema_costs import EscalationBudget
from routing.shadow.compare_trees import place

METRICS = ("max-softmax", "margin", "entropy", "mean-logprob", "min-logprob")
NAMED = ("output:<name>", "json:<path>")
Knot = tuple[float, float]


def read_metric(value: object) -> str:
    """How an output becomes a confidence. Raises UnreadableError."""
    text = read_text(value)
    if text in METRICS or re.fullmatch(r"output:\S(.*\S)?", text):
        return text
    if text.startswith("json:"):
        return f"json:{read_path(text.removeprefix('json:'))}"
    raise not_one_of(text, METRICS, *NAMED)


def read_path(value: object) -> str:
    """A place in a JSON document: `score`, `$.choices[0].logprobs.content[*].logprob`. Raises UnreadableError."""
    text = read_text(value) if value != "" else ""
    path = text if text.startswith("$") else f"${text}" if text.startswith("[") else f"$.{text}"
    if not text or place(path) is None:
        raise UnreadableError(f"{shown(text)} is not a place in JSON; write score, scores[0] or choices[*].logprob")
    return path


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
