"""How many rows a promise needs, said before anybody has labelled one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.calibrate.rows import Rows
from gateway.review.words import share
from routing.cascade.certify import Promise, certify_rows_needed, labels_needed

STRICTER = (0.95, 0.98, 0.99, 0.995)  # what else could be wished


class Plan(msgspec.Struct, frozen=True):
    """Rows in all, the third that fits included, until a good cascade can be certified; `quality`: the dearest model's own."""

    keep: float
    confidence: float
    quality: float
    labels: int
    certify: int  # of them
    others: tuple[tuple[float, int], ...]  # for other wishes


def plan(promise: Promise, rows: Rows | None) -> Plan:
    """Where there are rows already the dearest model's quality is known from them."""
    quality = 1.0 if rows is None else float(rows.right[:, -1].mean())
    others = tuple((keep, labels_needed(Promise(keep, promise.delta), quality)) for keep in STRICTER if keep != promise.quality)
    return Plan(
        promise.quality,
        1 - promise.delta,
        quality,
        labels_needed(promise, quality),
        certify_rows_needed(promise, quality),
        others,
    )


def sentences(found: Plan) -> Iterator[str]:
    """For people."""
    wish = f"{share(found.keep)} of the dearest model's quality is kept, with {share(found.confidence)} confidence"
    yield f"about {found.labels:,} rows: {found.labels - found.certify:,} to fit and {found.certify:,} to certify that {wish}"
    yield "with so many, thresholds that lose next to nothing are certified in four of five cases; more rows find cheaper ones"
    yield "for other wishes: " + ", ".join(f"{share(keep)}: {labels:,}" for keep, labels in found.others)
