"""Compares one answer with another, output by output: is each as near as its rule demands, and how far is it away?

A score is a difference in units of what the rule lets pass: up to 1 is the same, more is a difference, infinite where nothing
can be measured (another datatype, another shape, NaN on one side alone). So differences of all kinds can be held against each
other, and against what the primary differs from itself by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from backends.errors import InferenceError
from backends.tensors import BYTES, Array, Tensor
from routing.shadow import compare_rows as rows
from routing.shadow.compare_trees import MISSING, differences, distance, parsed, place, similarity

MAX_ELEMENTS = 1 << 18  # of an output that are looked at one by one; beyond it rows at even distances
MAX_FLIPS = 16  # kinds of them that are told of one pair
FLOATS = {"FP16": (1e-3, 1e-2), "BF16": (1e-3, 1e-2), "FP32": (1e-5, 1e-3), "FP64": (1e-5, 1e-3)}  # atol, rtol unless said


class Rule(msgspec.Struct, frozen=True):
    """What one output may differ by; all that is said must hold. Nothing said: the datatype's own tolerance, or equality.

    `overlap` and `rbo` are of the `top` largest of a row. `places` are rules within a JSON document.
    """

    exact: bool = False
    ignore: bool = False
    atol: float | None = None
    rtol: float | None = None
    label: bool = False
    top: int = 5
    overlap: float | None = None
    rbo: float | None = None
    variation: float | None = None
    divergence: float | None = None
    cosine: float | None = None
    similarity: float | None = None
    places: tuple[tuple[str, Rule], ...] | None = None


class Found(msgspec.Struct, frozen=True):
    """One field compared. `why` names the worst measure, "" where nothing differs; `flips` count label → label."""

    field: str
    score: float = 0.0
    why: str = ""
    measures: Mapping[str, float] = {}
    flips: tuple[tuple[str, str, int], ...] = ()
    sampled: bool = False  # not every element was looked at


def compare(one: Sequence[Tensor], other: Sequence[Tensor], rules: Mapping[str, Rule]) -> tuple[Found, ...]:
    """`other` held against `one`, field by field; `outputs` is the field of which outputs there are."""
    first, second = ({tensor.name: tensor for tensor in each} for each in (one, other))
    lost = sorted(first.keys() ^ second.keys())
    found = [Found("outputs", math.inf, "missing") if lost else Found("outputs")]
    for name in first.keys() & second.keys():
        rule = rules.get(name, _PLAIN)
        if not rule.ignore:
            found += _output(first[name], second[name], rule)
    return tuple(sorted(found, key=lambda each: each.field))


def fields(name: str, rule: Rule) -> list[str]:
    """The fields that an output with this rule has."""
    return [name, *(f"{name} {at}" for at, each in rule.places or () if not each.ignore)]


def _output(one: Tensor, other: Tensor, rule: Rule) -> Sequence[Found]:
    every = fields(one.name, rule)
    if one.datatype != other.datatype or one.shape != other.shape:
        why = "datatype" if one.datatype != other.datatype else "shape"
        return [Found(field, math.inf, why) for field in every]
    if one.data == other.data:
        return [Found(field) for field in every]
    if rule.places is not None and one.datatype == BYTES:
        return list(_documents(one, other, rule.places))
    try:
        return [_values(one, other, rule)]
    except InferenceError:  # BYTES whose lengths do not fit: nobody has looked at them before
        return [Found(one.name, math.inf, "unreadable")]


def _values(one: Tensor, other: Tensor, rule: Rule) -> Found:
    first, second = one.array(), other.array()
    width = max(1, first.shape[-1]) if first.ndim and _by_rows(rule) else 1
    step = -(-first.size // _most(rule, width))
    step = step | 1 if step > 1 else 1  # an even step would see the same columns of most shapes again and again
    first, second = (each.reshape(-1, width)[::step] for each in (first, second))
    if one.datatype == BYTES and rule.similarity is not None:
        worst, measures = _texts(first, second, rule.similarity)
        return Found(one.name, *worst, measures, sampled=step > 1)
    discrete = one.datatype not in FLOATS
    flips = _flips(first.ravel(), second.ravel()) if discrete else ()
    if one.datatype == BYTES or (discrete and _unsaid(rule)) or rule.exact:
        same = _same(first, second)
        score = 0.0 if same.all() else math.inf
        measures = {"unequal": float(1 - same.mean())} if same.size else {}
        return Found(one.name, score, "values" if score else "", measures, flips, step > 1)
    scores, measures, more = _numbers(_wide(one, first), _wide(one, second), _filled(rule, one.datatype))
    why = max(scores, key=lambda name: scores[name], default="")
    score = scores.get(why, 0.0)
    return Found(one.name, score, why if score else "", measures, flips or more, step > 1)


def _numbers(
    one: rows.Matrix, other: rows.Matrix, rule: Rule
) -> tuple[dict[str, float], dict[str, float], tuple[tuple[str, str, int], ...]]:
    """Scores by measure, what was measured, and flipped labels."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        apart = np.where(one == other, 0.0, np.abs(one - other))
        unlike = (np.isnan(one) != np.isnan(other)) | (np.isinf(apart))
        apart = np.where(np.isnan(one) & np.isnan(other), 0.0, apart)
        relative = np.where(apart > 0, apart / np.maximum(np.abs(one), 1e-300), 0.0)
    if unlike.any():
        return {"nan": math.inf}, {"unlike": float(unlike.mean())}, ()
    names = ("max_abs", "mean_abs", "max_rel", "mean_rel")
    made = (apart.max(initial=0.0), apart.mean(), relative.max(initial=0.0), relative.mean()) if apart.size else (0.0,) * 4
    measures, scores = dict(zip(names, map(float, made), strict=True)), dict[str, float]()
    if rule.atol is not None or rule.rtol is not None:
        allowed = (rule.atol or 0.0) + (rule.rtol or 0.0) * np.abs(np.nan_to_num(one))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scores["values"] = float(np.where(apart > 0, apart / allowed, 0.0).max(initial=0.0))
    if not apart.size or np.isnan(one).any():
        return scores, measures, ()
    for name, values, most in _distances(one, other, rule):
        worst = float(np.max(values)) if not np.isnan(values).any() else math.inf
        measures[name] = worst
        scores[name] = 0.0 if worst <= 1e-12 else worst / most if most > 0 else math.inf
    flips = _flips(*rows.labels(one, other)) if one.shape[1] > 1 else ()
    if rule.label:
        scores["label"] = math.inf if flips else 0.0
    return scores, measures, flips


def _distances(one: rows.Matrix, other: rows.Matrix, rule: Rule) -> Iterator[tuple[str, rows.Matrix, float]]:
    """Each measure that the rule bounds: by row how far it is from being the same, and how far it may be."""
    if rule.overlap is not None:
        yield "overlap", 1 - rows.overlap(one, other, rule.top), 1 - rule.overlap
    if rule.rbo is not None:
        yield "rbo", 1 - rows.rank_biased(one, other, rule.top), 1 - rule.rbo
    if rule.variation is not None:
        yield "variation", rows.variation(one, other), rule.variation
    if rule.divergence is not None:
        yield "divergence", rows.jensen_shannon(one, other), rule.divergence
    if rule.cosine is not None:
        yield "cosine", 1 - rows.cosine(one, other), 1 - rule.cosine


def _texts(one: Array, other: Array, least: float) -> tuple[tuple[float, str], dict[str, float]]:
    pairs = zip(one.ravel(), other.ravel(), strict=True)
    found = [similarity(a.decode(errors="replace"), b.decode(errors="replace")) for a, b in pairs]
    worst = 1 - min(found, default=1.0)
    score = 0.0 if not worst else worst / (1 - least) if least < 1 else math.inf
    return (score, "similarity" if score else ""), {"similarity": 1 - worst}


def _documents(one: Tensor, other: Tensor, places: Sequence[tuple[str, Rule]]) -> Iterator[Found]:
    rules = {place(at) or (): (f"{one.name} {at}", rule) for at, rule in places}
    worst = dict.fromkeys(fields(one.name, Rule(places=tuple(places))), (0.0, ""))
    try:
        pairs = list(zip(one.array().ravel(), other.array().ravel(), strict=True))
        documents = [(parsed(a), parsed(b)) for a, b in pairs if a != b]
    except (InferenceError, ValueError):
        yield from (Found(field, math.inf, "unreadable") for field in worst)
        return
    for first, second in documents:
        for at, a, b in differences(first, second, list(rules)):
            field, rule = rules[at] if at is not None else (one.name, _PLAIN)
            if not rule.ignore:
                worst[field] = max(worst[field], (_leaf(a, b, rule), "missing" if MISSING in (a, b) else "values"))
    yield from (Found(field, score, why if score else "") for field, (score, why) in worst.items())


def _leaf(one: object, other: object, rule: Rule) -> float:
    if rule.similarity is not None and isinstance(one, str) and isinstance(other, str):
        return (1 - similarity(one, other)) / (1 - rule.similarity) if rule.similarity < 1 else math.inf
    apart = math.inf if rule.exact else distance(one, other)
    if not apart or math.isinf(apart) or math.isnan(apart):
        return 0.0 if not apart else math.inf
    filled = _filled(rule, "FP64")
    allowed = (filled.atol or 0.0) + (filled.rtol or 0.0) * abs(float(one))  # type: ignore[arg-type]  # distance() took it
    return apart / allowed if allowed > 0 else math.inf


def _filled(rule: Rule, datatype: str) -> Rule:
    """With the datatype's tolerance where nothing is said."""
    if not _unsaid(rule):
        return rule
    atol, rtol = FLOATS.get(datatype, (0.0, 0.0))
    return msgspec.structs.replace(rule, atol=atol, rtol=rtol)


def _unsaid(rule: Rule) -> bool:
    return rule.atol is None and rule.rtol is None and not _by_rows(rule)


def _by_rows(rule: Rule) -> bool:
    bounds = (rule.overlap, rule.rbo, rule.variation, rule.divergence, rule.cosine)
    return rule.label or any(bound is not None for bound in bounds)


def _most(rule: Rule, width: int) -> int:
    """Elements that are looked at: rankings are held against each other place by place."""
    ranked = rule.overlap is not None or rule.rbo is not None
    return min(MAX_ELEMENTS, max(width, MAX_ELEMENTS * width // rule.top**2)) if ranked else MAX_ELEMENTS


def _same(one: Array, other: Array) -> Array:
    same: Array = one == other
    return same if one.dtype.kind != "f" else same | (np.isnan(one) & np.isnan(other))


def _wide(tensor: Tensor, array: Array) -> rows.Matrix:
    """In double precision; BF16 is the upper half of FP32."""
    if tensor.datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return array.astype(np.float64)


def _flips(one: Array, other: Array) -> tuple[tuple[str, str, int], ...]:
    """The commonest pairs of unequal values."""
    at = np.nonzero(one != other)[0][:1024]
    counts: dict[tuple[str, str], int] = {}
    for a, b in zip(one[at].tolist(), other[at].tolist(), strict=True):
        pair = (_label(a), _label(b))
        counts[pair] = counts.get(pair, 0) + 1
    kept = sorted(counts, key=lambda pair: -counts[pair])[:MAX_FLIPS]
    return tuple((a, b, counts[a, b]) for a, b in kept)


def printable(text: str, most: int) -> str:
    """The text as a terminal may show it: what clients or models say may hold anything."""
    return "".join(char if char.isprintable() else "�" for char in text[:most])


def _label(value: object) -> str:
    return printable(value.decode(errors="replace") if isinstance(value, bytes) else str(value), 32)


_PLAIN = Rule()
