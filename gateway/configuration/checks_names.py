"""What every part of a document asks of its names: is there such a thing, and does each stand there only once?"""

from __future__ import annotations

from collections.abc import Collection

from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, nearest, shown


def check_known(found: Findings, path: Path, what: str, name: str, known: Collection[str]) -> None:
    """`known` is what the file declares, readable or not: a mistake in a declaration does not make its name unknown."""
    if name not in known:
        meant = nearest(name, known)
        there = "" if meant or not known else f"; there is {', '.join(list(known)[:8])}"
        found.wrong(path, f"unknown {what} {shown(name)}{there}", meant)


def check_distinct(found: Findings, path: Path, words: list[str], key: str | None = None) -> None:
    """No word of the list at `path` stands there twice; with a `key`, it is that key's value in each entry."""
    first: dict[str, int] = {}
    for index, word in enumerate(words):
        if first.setdefault(word, index) != index:
            place = (*path, index) if key is None else (*path, index, key)
            line = found.source.mark((*path, first[word])).line
            found.wrong(place, f"{shown(word)} is already on line {line}")
