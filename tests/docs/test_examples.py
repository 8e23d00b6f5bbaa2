"""What the pages tell their reader to paste does what they say it does, on a real gateway before a real Triton."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.conftest import Run
from tests.docs.pages import PAGES, blocks, pattern

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples(page: Path, run: Run) -> None:
    """From top to bottom, each ends well and says what the page shows."""
    for block in blocks("bash test", "python client"):
        if block.page == page:
            done = run(block.kind.split()[0], block.text)
            assert 0 == done.returncode, f"{block}\n{done.stdout}"
            if block.output is not None:
                said = done.stdout.replace("\r", "").strip()
                assert pattern(block.output).fullmatch(said), f"{block}\n{said}"
