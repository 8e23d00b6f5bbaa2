"""The pages name what there is: all of it, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.admission import Why
from backends.errors import ErrorKind
from gateway.demo.show import SCENES
from gateway.dialects.v2_http import status
from gateway.telemetry.access_log import Line
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.series import Distributions, Numbers
from policies.onion import ORDER
from tests.docs.pages import DOCS, PAGES, ROOT, RUN, SHOWN, blocks, links, prose, table, words

CLIENTS, OPERATE, QUICKSTART = DOCS / "clients.md", DOCS / "operate.md", DOCS / "quickstart.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is a file, and every fragment a heading of it."""
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not fragment or fragment in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_block_is_of_a_known_kind() -> None:
    """So that a slip behind the backticks does not leave an example untested."""
    assert [] == [f"{block}: {block.kind}" for block in blocks() if block.kind not in (*RUN, *SHOWN)]


def test_every_metric_stands_in_its_table() -> None:
    """Each with its labels."""
    metrics = Metrics()
    more = (metrics.costs, metrics.rollouts, metrics.audits, metrics.audited, metrics._usage)
    families = (*vars(metrics).values(), *(family for each in more for family in each.families()))
    own = (family for family in families if isinstance(family, Numbers | Distributions))
    expected = {family._name: ",".join(family._labels) for family in own}
    told = {words(row[0])[0].partition("{") for row in table(OPERATE, "## Metrics")}
    assert expected == {name: labels.rstrip("}") for name, _, labels in told}


def test_every_field_of_the_access_log_stands_in_its_table() -> None:
    """In the order in which they are written."""
    assert list(Line.__struct_fields__) == [word for row in table(OPERATE, "## The access log") for word in words(row[0])]


def test_every_reason_of_an_error_stands_in_its_table() -> None:
    """Those that the code can give, no others; each kind of error under the status it has."""
    rows = table(CLIENTS, "## When it fails")
    told = {word for row in rows for word in words(row[1])}
    assert set(_reasons()) | {kind.value for kind in _kinds_shown()} == told
    statuses = {word: row[0] for row in rows for word in words(row[1])}
    for kind in _kinds_shown():
        assert statuses[kind.value].startswith(str(status(kind))), kind


def _kinds_shown() -> list[ErrorKind]:
    """Those whose own word can be an error's reason: a wrong method says which is right."""
    never = (ErrorKind.METHOD, ErrorKind.UNAUTHENTICATED, ErrorKind.SLOW, ErrorKind.OVERLOADED)
    return [kind for kind in ErrorKind if kind not in never] + [ErrorKind.OVERLOADED]


def _reasons() -> Iterator[str]:
    """Every reason that stands in the code as a word."""
    places = {"invalid": 1, "refused": 1, "RefusedError": 2}  # where those who make errors take it by position
    for folder in ("gateway", "policies", "routing", "backends"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text()
            if not any(word in text for word in (*places, "reason=")):
                continue  # three in four, and reading them takes most of a second
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call):
                    place = places.get(getattr(node.func, "id", ""), len(node.args))
                    given = [*node.args[place : place + 1], *(word.value for word in node.keywords if word.arg == "reason")]
                    found = (part for each in given for part in ast.walk(each) if isinstance(part, ast.Constant))
                    yield from (part.value for part in found if isinstance(part.value, str))
    yield from (why.value for why in Why)


def test_the_demos_lines_are_those_it_prints() -> None:
    """The quickstart shows every scene by the name it has, in its order."""
    shown = "".join(block.text for block in blocks("text") if block.page == QUICKSTART)
    assert [name for name, _ in SCENES] == re.findall(r"^  ok  (\S.{0,16}?) {2,}", shown, re.MULTILINE)


def test_the_picture_shows_the_onion_as_it_is() -> None:
    """Its layers in their order."""
    picture = (DOCS / "request-life.svg").read_text()
    assert list(ORDER) == re.findall(r'class="name" x="\d+" y="\d+">(\w+)<', picture)
