"""Recorded runs in the documentation."""

from xml.etree import ElementTree

import pytest

from loadtest import publish

RUN = {
    "machine": {"date": "2026-11-21", "cores": 2, "cpu": "X", "kernel": "6", "python": "3.11"},
    "summary": [
        {"program": name, "traffic": "1k", "cpu_us": cost, "kernel_us": 5.0, "lowest": 1.0, "highest": 99.0}
        | {"to_envoy": ratio, "to_nginx": None}
        for name, cost, ratio in (("envoy", 60.0, 1.0), ("penstock key", 54.0, 0.9))
    ],
}


def test_marked_places_are_filled_and_can_be_filled_again() -> None:
    """The rest of the page stays."""
    page = "a\n<!-- measured: cpu -->\nold\n<!-- end -->\nb <!-- measured: machine -->\n<!-- end -->."
    filled = publish.filled(page, {"compare": RUN})
    assert "| penstock key, 1k | 54.0 | 1.0 … 99.0 | 5.0 | 0.90 | – |" in filled.splitlines()
    assert "old" not in filled
    assert filled.startswith("a\n")
    assert filled.endswith("2026-11-21, 2 cores of X, Linux 6, Python 3.11\n<!-- end -->.")
    assert filled == publish.filled(filled, {"compare": RUN})


def test_what_the_cache_costs_stands_beside_its_goals() -> None:
    """A row for each traffic, and one for each pair; what has no goal has none."""
    run = {
        "rows": [
            {"name": "hit", "traffic": "1k", "does": "kept", "cpu_us": 30.0, "samples": [{"cpu_us": 29.0}, {"cpu_us": 31.0}]}
        ],
        "ratios": [
            {"goal": {"row": ["hit", "1k"], "beside": ["gate", "1k"], "most": 1.3}, "ratio": 1.5},
            {"goal": {"row": ["an hour", ""], "beside": ["no cache", "unique"], "most": None}, "ratio": 1.04},
        ],
    }
    page = "<!-- measured: cache -->\n<!-- end -->\n<!-- measured: ratios -->\n<!-- end -->"
    filled = publish.filled(page, {"cache": run}).splitlines()
    assert "| hit, 1k: kept | 30.0 | 29.0 … 31.0 |" in filled
    assert "| hit, 1k / gate, 1k | 1.50 | 1.30 |" in filled
    assert "| an hour / no cache, unique | 1.04 | – |" in filled


def test_a_place_without_a_run_stays_as_it_is() -> None:
    """Recording one kind does not erase another."""
    page = "<!-- measured: memory -->\nold\n<!-- end -->"
    assert page == publish.filled(page, {"compare": RUN})


def test_the_drawing_is_an_svg_with_a_panel_for_each_size_that_was_measured() -> None:
    """Here only one."""
    texts = [
        element.text or "" for element in ElementTree.fromstring(publish.drawing(RUN)).findall("{http://www.w3.org/2000/svg}text")
    ]
    assert ["1 KB"] == [size for size in ("1 KB", "150 KB") if any(f"of {size}:" in text for text in texts)]
    assert "54 µs · 0.90 × Envoy" in texts


@pytest.mark.skipif("compare" not in publish.recorded(), reason="no run is recorded")
def test_the_page_and_the_plot_say_what_was_recorded() -> None:
    """`make bench-long` writes all of them; none was changed by hand."""
    runs = publish.recorded()
    assert publish.filled(publish.PAGE.read_text(), runs) == publish.PAGE.read_text()
    assert publish.drawing(runs["compare"]) == publish.PLOT.read_text()
