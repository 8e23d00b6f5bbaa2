"""The report as a page: well-formed, alone, with every candidate in it, and with nothing that a file could have put there."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gateway.calibrate.page import page
from gateway.calibrate.report import Chosen, report
from gateway.calibrate.rows import gather
from gateway.calibrate.stages import Stages
from routing.cascade.certify import Promise, calibrate
from tests.gateway.calibrate.answers import rows, write

NASTY = "<script>alert(1)</script>"


@pytest.mark.parametrize("quality", [0.97, 0.9999])
def test_the_page(tmp_path: Path, quality: float) -> None:
    """Certified or not: a plot of all candidates, one of the maps; labels and names from the file are text."""
    made = [{**row, "fast_label": NASTY if row["fast_label"] == 0 else row["fast_label"]} for row in rows()]
    columns = {"fast" + NASTY: "fast", "accurate": "accurate"}
    found = gather([write(tmp_path / "r.csv", made)], columns)
    judged = calibrate(found.at([1, 40]), Promise(quality))
    told = report(
        judged, found, Stages({"fast" + NASTY: 1.0, "accurate": 40.0}, columns), Chosen(("r.csv",), 0, None), lambda _: True
    )
    text = page(told)
    body = ElementTree.fromstring(f"<body>{text.partition('<body>')[2].rpartition('</body>')[0]}</body>")
    assert ("certified" if judged.chosen else "nothing certified") in [each.text for each in body.iter("span")]
    drawn = sum(len(list(picture.iter("circle"))) for picture in body.iter("svg"))
    assert drawn >= len([point for point in told.curve if point.quality > quality])
    assert NASTY not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"https?://|src=|href=|@import|url\(|nan|inf\b", text)
