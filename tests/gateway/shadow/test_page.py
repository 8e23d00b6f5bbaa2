"""The report as a page: whole, and with nothing in it that a client could have put there."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from gateway.shadow.page import page
from gateway.shadow.report import report
from tests.gateway.shadow.shadowed import NASTY, NEXT, SHADOW, shown


def test_the_page_is_well_formed_and_stands_alone() -> None:
    """Every element closes, as a strict parser sees it; nothing is fetched from anywhere."""
    text = page([shown(600, 0.05), shown(300, 0.3, 0.3), report("digits", SHADOW, (NEXT, None), None)])
    body = text.partition("<body>")[2].rpartition("</body>")[0]
    found = ElementTree.fromstring(f"<body>{body}</body>")
    assert 3 == len(found.findall("h1"))
    assert 4 == len(found.findall("svg"))
    assert not re.search(r"https?://|src=|href=|<script|@import|url\(", text)


def test_what_clients_say_is_text() -> None:
    """A tenant with a script for a name is shown with it."""
    text = page([shown(600, 0.05)])
    assert NASTY not in text
    assert "&lt;script&gt;" in text


def test_without_shadows() -> None:
    """It says so."""
    assert "has no shadows" in page([])
