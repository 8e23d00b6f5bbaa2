"""Where a page says which test shows something, there is that test."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

PAGES = (DOCS / "faults.md", ROOT / "SECURITY.md")
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
NAMED = sorted({(page.name, *found) for page in PAGES for found in _NAMED.findall(page.read_text("utf-8"))})


@pytest.mark.parametrize(("page", "file", "test"), NAMED)
def test_is_there(page: str, file: str, test: str) -> None:
    """In that file, under that name."""
    defined = ast.walk(ast.parse((ROOT / file).read_text("utf-8")))
    assert test in {node.name for node in defined if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_names_its_test(page: Path) -> None:
    """No fault and no threat is told of that nobody has tried."""
    lines = page.read_text("utf-8").splitlines()
    rows = [line for line, below in pairwise((*lines, "")) if line.startswith("| ") and not below.startswith("|---")]
    assert rows
    assert [] == [row for row in rows if not _NAMED.search(row)]
