"""Counting and writing out, read back by Prometheus' own parser."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.series import Distributions, Numbers

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(lines: Iterable[str]) -> Samples:
    """Every sample by name and labels."""
    families = text_string_to_metric_families("\n".join(lines) + "\n")
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_any_label_value_comes_back_as_it_was(value: str) -> None:
    """Quotes, backslashes and line ends in a label cannot break out of it."""
    numbers = Numbers("counter", "seen_total", "things", ("what",))
    numbers.cell(value).value += 3
    assert {("seen_total", frozenset({("what", value)})): 3.0} == parsed(numbers.lines())


def test_same_labels_are_the_same_cell() -> None:
    """Two asks with equal labels count together, others apart."""
    numbers = Numbers("counter", "seen_total", "things", ("a", "b"))
    numbers.cell("x", "y").value += 1
    numbers.cell("x", "y").value += 1
    numbers.cell("y", "x").value += 5
    assert [2.0, 5.0] == list(parsed(numbers.lines()).values())


def test_wrong_number_of_labels_is_a_defect() -> None:
    """A cell without its labels is refused where it is asked for, not at the scrape."""
    with pytest.raises(ValueError, match="want 2 values, got 1"):
        Numbers("counter", "seen_total", "things", ("a", "b")).cell("x")


def test_family_without_cells_says_nothing() -> None:
    """What never happened is not in the exposition, not even its heading."""
    assert [] == list(Numbers("counter", "seen_total", "things", ()).lines())
    assert [] == list(Distributions("took_seconds", "time", (), (1.0,)).lines())


def test_cleared_gauge_forgets_its_labels() -> None:
    """A gauge that names what is true now does not go on naming what was."""
    numbers = Numbers("gauge", "version", "now", ("version",))
    numbers.cell("old").value = 1
    numbers.clear()
    numbers.cell("new").value = 1
    assert {("version", frozenset({("version", "new")})): 1.0} == parsed(numbers.lines())


@given(st.lists(st.floats(0, 10, allow_nan=False) | st.sampled_from([0.1, 1.0, 5.0])))
def test_buckets_count_exactly(values: list[float]) -> None:
    """Each bucket holds the observations at or below its bound, bounds included; count and sum are those of all."""
    distributions = Distributions("took_seconds", "time", ("of",), (0.1, 1.0, 5.0))
    cell = distributions.cell("x")
    for value in values:
        cell.observe(value)
    found = parsed(distributions.lines())
    for bound, step in ((0.1, "0.1"), (1.0, "1.0"), (5.0, "5.0"), (math.inf, "+Inf")):
        expected = sum(value <= bound for value in values)
        assert expected == found["took_seconds_bucket", frozenset({("of", "x"), ("le", step)})]
    assert len(values) == found["took_seconds_count", frozenset({("of", "x")})]
    assert math.isclose(math.fsum(values), found["took_seconds_sum", frozenset({("of", "x")})], abs_tol=1e-9)
