"""Parts of pages are well-formed, and texts in them are texts."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from gateway.page import document, escaped, svg, table, verdict

NASTY = '<script>alert("1")</script>'


def test_a_page_stands_alone() -> None:
    """Its body is well-formed as a strict parser sees it; nothing is fetched; texts stay texts."""
    body = table(*escaped((("a", NASTY), [("1", NASTY)]))) + svg(100, 20, '<rect width="5" height="5"/>') + verdict(NASTY, "bad")
    text = document(NASTY, body)
    found = ElementTree.fromstring(f"<body>{text.partition('<body>')[2].partition('</body>')[0]}</body>")
    assert ["table", "svg", "span"] == [each.tag for each in found]
    assert [NASTY, NASTY, NASTY] == [each.text for each in found.iter() if each.text and "alert" in each.text]
    assert f"<title>{NASTY}" not in text
    assert not re.search(r"https?://|src=|href=|@import|url\(", text)
