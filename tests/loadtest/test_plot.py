"""Bars as text."""

from xml.etree import ElementTree

from loadtest import plot
from loadtest.plot import Bar, Panel

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_values() -> None:
    """On one scale from zero, ours in another colour than the others."""
    bars = (Bar("nginx", 20.0, 18.0, 22.0, "20 µs", ours=False), Bar("penstock", 60.0, 50.0, 80.0, "60 µs", ours=True))
    drawn = ElementTree.fromstring(plot.svg([Panel("CPU", bars)], "foot"))
    one, other = drawn.findall(f"{SVG}rect")[1:]
    assert 3.0 == round(float(other.get("width", 0)) / float(one.get("width", 1)), 2)
    assert one.get("fill") != other.get("fill")


def test_names_are_escaped() -> None:
    """A name is text, whatever it holds."""
    drawn = ElementTree.fromstring(plot.svg([Panel("a & b", (Bar("<x>", 1.0, 1.0, 1.0, "&", ours=True),))], "<foot>"))
    assert {"a & b", "<x>", "&", "<foot>"} == {each.text for each in drawn.findall(f"{SVG}text")}
