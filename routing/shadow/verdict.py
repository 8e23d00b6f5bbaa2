"""What the counts of a shadow say: the same, different, or not enough yet, field by field and as a whole.

A field is `same` when it is known that the candidate differs beyond the primary's noise in no more than the policy's margin of
the questions; `different` when it is proven that it differs beyond noise at all (routing/shadow/excess.py) and not known that it
is so little. Every field has an equal part of alpha, so that the chance of one wrong word among all of them is alpha.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from routing.shadow.excess import FAR, Interval, excess, pairs_until_proven, pairs_until_same, proven, share
from routing.shadow.tally import Field, Tally

Word = Literal["same", "different", "not enough"]


class FieldVerdict(msgspec.Struct, frozen=True):
    """One field. `raw` is how often the candidate differs from the primary, `noise` how often the primary does from itself,
    `excess` the difference, over the pairs. `more`: mirrored questions until a verdict, if they go on as they did."""

    field: str
    verdict: Word
    raw: Interval
    noise: Interval
    excess: Interval
    pairs: int
    more: int
    whys: dict[str, int]
    flips: dict[str, int]
    largest: dict[str, float]
    means: dict[str, float]


class Verdict(msgspec.Struct, frozen=True):
    """Of the whole: different if one field is, the same if all are."""

    verdict: Word
    more: int  # mirrored questions, about; FAR and beyond: not to be waited for
    fields: tuple[FieldVerdict, ...]  # the different ones first


def judged(tally: Tally, alpha: float, margin: float, noise: float = 1.0) -> Verdict:
    """The verdict on one pair of versions. `noise` is the share of mirrors that are pairs."""
    part = alpha / max(1, len(tally.fields))
    fields = [_judged(name, field, part, margin, noise) for name, field in tally.fields.items()]
    order: tuple[Word, ...] = ("different", "not enough", "same")
    fields.sort(key=lambda each: (order.index(each.verdict), -each.excess.value, each.field))
    words = {each.verdict for each in fields}
    verdict: Word = "different" if "different" in words else "same" if words == {"same"} else "not enough"
    more = max((each.more for each in fields), default=FAR) if verdict == "not enough" else 0
    return Verdict(verdict, more, tuple(fields))


def _judged(name: str, field: Field, alpha: float, margin: float, noise: float) -> FieldVerdict:
    worse, better, pairs = field.worse, field.better, field.pairs
    beyond = excess(worse, better, pairs, alpha)
    verdict: Word = "not enough"
    if pairs and beyond.high <= margin:
        verdict = "same"
    elif pairs and proven(worse, better, alpha):
        verdict = "different"
    more = 0
    if verdict == "not enough":
        wanted = min(pairs_until_same(worse, better, pairs, margin, alpha), pairs_until_proven(worse, better, pairs, alpha))
        more = min(FAR, round(wanted / noise))
    means = {measure: value / max(1, field.compared) for measure, value in field.sums.items()}
    return FieldVerdict(
        name,
        verdict,
        share(field.differed, field.compared, alpha),
        share(field.noisy, pairs, alpha),
        beyond,
        pairs,
        more,
        dict(field.whys),
        dict(field.flips),
        dict(field.largest),
        means,
    )
