"""Limits in words, and what differs between those of two documents."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.schema_limits import Limit
from gateway.review.limits import allowed, counted, limit_changes

POLICY = """
version: 1
backends: {triton: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {digits: {variants: {fast: {backend: triton, model: f}}, routes: [{name: default, use: fast}]}}
limits:
"""
FREE = "name: free, match: {tier: [trial, free], scope: a}, per: tenant, requests: 6000/m, burst: 7"
AT_ONCE = "match: {model: digits}, concurrency: 16"
BYTES = "per: subject, bytes: 1.5MiB/h"


def limits(*written: str) -> tuple[Limit, ...]:
    if not written:
        return ()
    return load_policy((POLICY + "".join(f"  - {{{each}}}\n" for each in written)).encode(), "policy.yaml").limits


def changed(old: tuple[Limit, ...], new: tuple[Limit, ...]) -> list[tuple[str, str]]:
    return [tuple(each) for each in limit_changes(old, new)]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "allows", "counts"),
    [
        (FREE, "6000/m, 7 at once", "tier free or trial and scope a"),
        (AT_ONCE, "16 at the same time", "model digits"),
        (BYTES, "1536KiB/h", "everybody"),
        ("requests: 0.5/s, concurrency: 1, bytes: 1GiB/d", "0.5/s; 1 at the same time; 1GiB/d", "everybody"),
    ],
)
def test_in_words(written: str, allows: str, counts: str) -> None:
    """As the document writes it."""
    (limit,) = limits(written)
    assert (allows, counts) == (allowed(limit), counted(limit))


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ((FREE, AT_ONCE), (FREE, AT_ONCE), []),
        ((AT_ONCE, BYTES), (BYTES, AT_ONCE), []),
        ((), (FREE,), [("limits[0]", "limit 'free' is new: tier free or trial and scope a per tenant: 6000/m, 7 at once")]),
        ((AT_ONCE,), (), [("limits", "limit 'limit-1' goes: it allowed model digits: 16 at the same time")]),
        ((FREE,), (FREE.replace("free,", "gratis,", 1),), [("limits[0]", "limit 'free' is called 'gratis' now")]),
        ((FREE,), (FREE.replace("6000/m", "50/s"),), [("limits[0].requests", "limit 'free': 6000/m → 50/s")]),
        (
            (FREE,),
            ("name: free, match: {tier: gold}, requests: 6000/m, bytes: 1MiB/s",),
            [
                ("limits[0].match", "limit 'free': tier free or trial and scope a → tier gold"),
                ("limits[0].per", "limit 'free': tenant → one bucket for all"),
                ("limits[0].burst", "limit 'free': 7 → as many as the rate counts"),
                ("limits[0].bytes", "limit 'free': none → 1MiB/s"),
            ],
        ),
        (
            (AT_ONCE,),
            (FREE, AT_ONCE.replace("16", "8")),
            [
                ("limits[0]", "limit 'free' is new: tier free or trial and scope a per tenant: 6000/m, 7 at once"),
                ("limits", "limit 'limit-1' goes: it allowed model digits: 16 at the same time"),
                ("limits[1]", "limit 'limit-2' is new: model digits: 8 at the same time"),
            ],
        ),
    ],
)
def test_changes(old: tuple[str, ...], new: tuple[str, ...], changes: list[tuple[str, str]]) -> None:
    """What comes, goes, is renamed or says something else; a place in the list is no difference."""
    assert sorted(changes) == sorted(changed(limits(*old), limits(*new)))
