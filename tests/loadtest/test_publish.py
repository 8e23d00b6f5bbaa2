"""Recorded runs in the documentation."""

from xml.etree import ElementTree

import pytest

from loadtest import publish

RUN = {
    "machine": {"date": "2026-11-21", "cores": 2, "cpu": "X", "kernel": "6", "python": "3.11"},
    "summary": [
        {"program": name, "traffic": "1k", "cpu_us": cost, "lowest": 1.0, "highest": 99.0, "to_envoy": ratio, "to_nginx": None}
        for name, cost, ratio in (("envoy", 60.0, 1.0), ("penstock key", 54.0, 0.9))
    ],
}


def test_marked_places_are_filled_and_can_be_filled_again() -> None:
    """The rest of the page stays."""
    page = "a\n<!-- measured: cpu -->\nold\n<!-- end -->\nb <!-- measured: machine -->\n<!-- end -->."
    filled = publish.filled(page, {"compare": RUN})
    assert "| penstock key, 1k | 54.0 | 1.0 … 99.0 | 0.90 | – |" in filled.splitlines()
    assert "old" not in filled
    assert filled.startswith("a\n")
    assert filled.endswith("2026-11-21, 2 cores of X, Linux 6, Python 3.11\n<!-- end -->.")
    assert filled == publish.filled(filled, {"compare": RUN})


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
