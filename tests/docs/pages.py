"""Reads the pages of docs/: their fenced blocks, tables and links, so that tests can run and compare what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = tuple(sorted(DOCS.glob("*.md")))
# What may stand behind ```: these run or are loaded, and `text output` is what the block before it must say …
RUN = ("bash test", "python client", "yaml policy", "yaml part", "yaml mistaken", "yaml gateway", "text output")
SHOWN = ("bash", "text", "ini", "yaml")  # … and these are for reading: what a test must not do, or shows as it was seen once.
_FENCE = re.compile(r"^```([a-z ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it begins, what it is, its text, and the `text output` right after it if there is one."""

    page: Path
    line: int
    kind: str
    text: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*kinds: str) -> list[Block]:
    """Every block of these kinds, or of all, page by page from top to bottom."""
    return [block for page in PAGES for block in _read(page) if not kinds or block.kind in kinds]


def _read(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    found = list(_FENCE.finditer(text))
    for index, fence in enumerate(found):
        after = found[index + 1] if index + 1 < len(found) else None
        output = after[2] if after is not None and after[1] == "text output" else None
        yield Block(page, text.count("\n", 0, fence.start()) + 1, fence[1], fence[2], output)


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """Where the page points to."""
    return _LINK.findall(prose(page))


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table under that heading, its own head left out, without the marks of code."""
    section = prose(page).partition(f"\n{heading}\n")[2]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert lines is not None, f"{page.name} has no table under {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def words(cell: str) -> list[str]:
    """What the cell says as code."""
    return re.findall(r"`([^`]+)`", cell)


def pattern(shown: str) -> re.Pattern[str]:
    """Shown output as a pattern in which … stands for anything within a line, and … alone on a line for any lines."""
    lines = [
        ".*" if line.strip() == "…" else "[^\n]*".join(map(re.escape, line.split("…"))) for line in shown.strip().splitlines()
    ]
    return re.compile("\n".join(lines), re.DOTALL)
