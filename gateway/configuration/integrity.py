"""Tells a whole policy file from one that is cut off, half written or changed by accident, before anything in it is read.

About half of all truncations of a YAML file still parse. A file that opens with YAML's own line `---` must therefore close with
YAML's own line `...`, which may carry a seal: the SHA-256 of all bytes before it. A file without `---` promises nothing.

    # comments, such as the one that names the schema for editors
    ---
    version: 1
    ... # sha256 0123456789abcdef…
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum

from gateway.configuration.problems import PolicyError, Problem, shown

_BLANK = rb"(?:[ \t\r]*(?:#[^\n]*)?\n|%[^\n]*\n)*"  # lines that YAML allows before `---`, none of which begins as that does
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?" + _BLANK + rb"(?P<line>---(?=[ \t\r\n]|\Z)(?P<rest>[^\n]*))")
_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?" + _BLANK)
_CLOSING = re.compile(rb"^\.\.\.(?=[ \t\r\n]|\Z)(?P<rest>[^\n]*)\n?", re.MULTILINE)  # no YAML text may hold it at column 1
_SEAL = re.compile(rb"(?: # (?:sha256 (?P<sum>[0-9a-f]{64})|(?P<open>unsealed)))?\r?")
_ALMOST = re.compile(rb"[ \t]*(?:\.{2,}|\xe2\x80\xa6)[ \t\r]*")  # `..`, `....`, an indented `...`, a typographic ellipsis


class Ends(Enum):
    """What a file says of its own ends."""

    OPEN = "open"  # nothing: a part of it may look like the whole
    CLOSED = "closed"
    UNSEALED = "unsealed"  # closed, and its author took the seal off on purpose
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class _Found:
    ends: Ends
    body: bytes  # before the closing line
    problems: tuple[Problem, ...]
    sum: str = ""  # in the seal


def ends(text: bytes, name: str) -> Ends:
    """How far the file vouches for itself. Raises PolicyError if it is not the whole that it says it is."""
    found = _find(text)
    problems = [*found.problems]
    if found.ends is Ends.SEALED and found.sum != _sum(found.body):
        again = f"if that was meant, `penstock policy seal {name}` seals it anew"
        problems.append(Problem("", _line(text, len(found.body)), f"edited since it was sealed (line ends count too); {again}"))
    if problems:
        raise PolicyError(name, problems)
    return found.ends


def sealed(text: bytes, name: str) -> bytes:
    """The same document between `---` and a closing line with its seal, whatever the seal was before.

    Raises PolicyError for a file that is cut off or has something behind its end: no seal shall make that good.
    """
    body = _enclosed(text, name)
    return body + f"... # sha256 {_sum(body)}".encode() + _newline(text)


def unsealed(text: bytes, name: str) -> bytes:
    """The same document with a closing line that says it goes without a seal. Raises as `sealed`."""
    return _enclosed(text, name) + b"... # unsealed" + _newline(text)


def _find(text: bytes) -> _Found:
    opening, closing = _OPENING.match(text), _CLOSING.search(text)
    problems = []
    if opening and not re.fullmatch(rb"[ \t]*(?:[ \t]#.*)?\r?", opening["rest"]):
        line = _line(text, opening.start("line"))
        problems.append(Problem("", line, "the document begins on the line after ---, not on the same"))
    if opening and not closing:
        problems.append(_unclosed(text))
    if not closing:
        return _Found(Ends.OPEN, text, tuple(problems))
    line = _line(text, closing.start())
    if not opening:
        problems.append(Problem("", line, "this line ... closes a document that no line --- opens", "---"))
    seal = _SEAL.fullmatch(closing["rest"])
    if seal is None:
        said = shown(closing["rest"].decode(errors="replace").removesuffix("\r"))
        message = f"behind ... stands {said}; only a seal may stand there, as `penstock policy seal` writes it"
        problems.append(Problem("", line, message, "...", column=4))
    if closing.end() < len(text):
        problems.append(Problem("", line + 1, f"the file closes on line {line}; nothing may follow, not even empty lines"))
    if seal and seal["sum"]:
        return _Found(Ends.SEALED, text[: closing.start()], tuple(problems), seal["sum"].decode())
    return _Found(Ends.UNSEALED if seal and seal["open"] else Ends.CLOSED, text[: closing.start()], tuple(problems))


def _unclosed(text: bytes) -> Problem:
    last = text.rstrip().rpartition(b"\n")[2]
    message = "cut off: a file that begins with --- ends with a line that is just ..., and this one does not"
    return Problem("", _line(text.rstrip(), len(text)), message, "..." if _ALMOST.fullmatch(last) else None)


def _enclosed(text: bytes, name: str) -> bytes:
    """All that stands before the closing line, with `---` in front of the document."""
    found = _find(text)
    if found.problems:
        raise PolicyError(name, found.problems)
    if found.ends is not Ends.OPEN:
        return found.body
    head = _HEAD.match(text)
    at = head.end() if head else 0
    end = b"" if text.endswith(b"\n") else _newline(text)
    return text[:at] + b"---" + _newline(text) + text[at:] + end


def _newline(text: bytes) -> bytes:
    return b"\r\n" if b"\r\n" in text else b"\n"


def _sum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _line(text: bytes, at: int) -> int:
    return text.count(b"\n", 0, at) + 1
