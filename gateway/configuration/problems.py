"""What is wrong with a configuration file, said so that its author can put it right: where, what, and the nearest valid word."""

from __future__ import annotations

import difflib
import heapq
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

Path = tuple[str | int, ...]  # from the document's top: mapping keys and list positions
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
MAX_PROBLEMS = 100  # of one file: nobody reads more, and logs should not hold more
_COMPARED = 500  # names that a misspelt one is compared with by the letters they share: it takes 5 µs each
_LIKELY, _LONG = 5, 48  # of those, as many are compared in full, in so many characters: up to 0.3 ms each
_SHOWN = 60  # characters of the author's own text that a message repeats


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line` and `column` count from 1; `suggestion` is what was probably meant."""

    path: str
    line: int
    message: str
    suggestion: str | None = None
    column: int = 1

    def text(self, name: str) -> str:
        """`file:line: path: what — did you mean 'x'?`"""
        where = f"{name}:{self.line}: " + (f"{self.path}: " if self.path else "")
        return where + self.message + (f" — did you mean {shown(self.suggestion)}?" if self.suggestion is not None else "")


class PolicyError(Exception):
    """A configuration file that is refused, with every mistake found in it, in the order of their lines."""

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__("\n".join(problem.text(name) for problem in self.problems))


class UnreadableError(ValueError):
    """A single value that cannot be read; whoever knows its place in the file makes a Problem of it."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


NOT_YET = "not supported by this version yet"


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid word that `word` most resembles; None if none comes close. At most 5 ms, whatever they are."""
    word = word[:_LONG].lower()
    spellings = {name[:_LONG].lower(): name for name in islice(valid, _COMPARED)}
    matcher = difflib.SequenceMatcher(b=word)

    def shared(spelling: str) -> float:
        matcher.set_seq1(spelling)
        return matcher.quick_ratio()

    likely = heapq.nlargest(_LIKELY, spellings, shared)
    found = difflib.get_close_matches(word, likely, n=1, cutoff=0.6)
    return spellings[found[0]] if found else None


def listed(words: Iterable[str]) -> str:
    """Words for a message: `a, b or c`."""
    *first, last = list(words)
    return f"{', '.join(first)} or {last}" if first else last


def shown(value: object) -> str:
    """The author's text as a message may repeat it: quoted, control characters escaped, cut when long."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def path_text(path: Path) -> str:
    """`models.digits.routes[0].use`; a key with other characters is quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _PLAIN_KEY.fullmatch(step) else json.dumps(step[:_SHOWN])
            text += f".{key}" if text else key
    return text
