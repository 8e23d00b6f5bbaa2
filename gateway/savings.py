"""What the policy has saved, from the numbers that Prometheus is given: those of all processes are in them, also of ended ones.

    saved = baseline - cost = what the cache saved + what cascades saved + what routes saved - what was paid beside

The baseline is what the dearest variant would have cost for every answer; beside is what no answer carries: asks whose client had
left, that were late, lost hedges, renewals, and of streams what their first answer could not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_SAMPLE = re.compile(r"penstock_(?P<name>[a-z_]+)\{(?P<labels>.*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_START = re.compile(r"^process_start_time_seconds (\S+)$", re.MULTILINE)


class Part(msgspec.Struct):
    """Answers, or rows of them, that came in one way."""

    cost: float = 0.0
    baseline: float = 0.0
    saved: float = 0.0


class Asked(msgspec.Struct):
    """One variant: how often it was asked, about how many rows in all, at what cost; and how many rows have its answer."""

    variant: str
    asks: int = 0
    asked_rows: int = 0
    rows: int = 0
    cost: float = 0.0


class Saved(msgspec.Struct):
    """One model. `share` is of the baseline; `parts` by cache, cascade and route; `beside` is cost that is in none of them."""

    model: str
    requests: int = 0  # answered
    cost: float = 0.0
    baseline: float = 0.0
    saved: float = 0.0
    share: float = 0.0
    parts: dict[str, Part] = {}
    beside: float = 0.0
    variants: list[Asked] = []


class Savings(msgspec.Struct):
    """All of it. `since`: when the oldest process that still runs began, Unix time in seconds."""

    since: float
    cost: float
    baseline: float
    saved: float
    share: float
    models: list[Saved]


def savings(exposition: bytes) -> Savings:
    """Of one gateway's exposition, in gateway.telemetry.series' format."""
    text = exposition.decode()
    found: dict[str, Saved] = {}
    for name, labels, value in _samples(text):
        model = labels.get("model", "")
        if model and name in _COUNTED:
            _count(found.setdefault(model, Saved(model)), name, labels, value)
    models = [_summed(found[model]) for model in sorted(found)]
    start = _START.search(text)
    cost, baseline = sum(each.cost for each in models), sum(each.baseline for each in models)
    share = (baseline - cost) / baseline if baseline else 0.0
    return Savings(float(start[1]) if start else 0.0, cost, baseline, baseline - cost, share, models)


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        sample = _SAMPLE.fullmatch(line)
        if sample is not None:
            yield sample["name"], dict(_LABEL.findall(sample["labels"])), float(sample["value"])


_FIELDS = {"cost_total": "cost", "asks_total": "asks", "asked_rows_total": "asked_rows", "rows_total": "rows"}
_COUNTED = {*_FIELDS, "requests_total", "cost_baseline_total", "cost_part_total", "cost_baseline_part_total"}


def _count(saved: Saved, name: str, labels: dict[str, str], value: float) -> None:
    variant = labels.get("variant", "")
    if name == "requests_total":
        saved.requests += int(value) if variant else 0
    elif name == "cost_baseline_total":
        saved.baseline += value
    elif "part" in labels:
        part = saved.parts.setdefault(labels["part"], Part())
        field = "cost" if name == "cost_part_total" else "baseline"
        setattr(part, field, getattr(part, field) + value)
    else:
        asked = next((each for each in saved.variants if each.variant == variant), None)
        if asked is None:
            asked = Asked(variant)
            saved.variants.append(asked)
        setattr(asked, _FIELDS[name], type(getattr(asked, _FIELDS[name]))(value))
        saved.cost += value if name == "cost_total" else 0.0


def _summed(saved: Saved) -> Saved:
    for part in saved.parts.values():
        part.saved = part.baseline - part.cost
    saved.variants.sort(key=lambda each: each.variant)
    saved.saved = saved.baseline - saved.cost
    saved.share = saved.saved / saved.baseline if saved.baseline else 0.0
    saved.beside = max(0.0, saved.cost - sum(part.cost for part in saved.parts.values()))
    return saved
