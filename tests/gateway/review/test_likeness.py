"""What counts as the same, in words."""

from __future__ import annotations

from gateway.configuration.schema_shadows import Compare, Except
from gateway.review.likeness import rules, spared


def test_rules() -> None:
    """By output; places within JSON in brackets; nothing said is the datatype's own tolerance."""
    assert "each datatype's own tolerance" == rules({})
    assert "p atol 0.5 label, q ($.x exact)" == rules(
        {"p": Compare(atol=0.5, label=True), "q": Compare(json={"$.x": Compare(exact=True)})}
    ).replace("label atol 0.5", "atol 0.5 label")


def test_who_is_left_alone() -> None:
    """By tenant and tier."""
    assert "nobody spared" == spared(None)
    assert "tenant a, tier b" == spared(Except(("a",), ("b",)))
