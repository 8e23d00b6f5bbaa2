"""The file of a prompt router: plain JSON, read as if whoever wrote it meant harm."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from routing.prompt.scorer import WORD, Scorer, Term

FORMAT = 1
MAX_BYTES = 4 << 20
MAX_TERMS = 50_000
MAX_CHARACTERS = 20_000  # of a text that are read: 1 ms
LARGEST = 1e6  # of a weight: so that no sum of them overflows
_WORDS = 2  # of a term, at most


class RouterFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says. `documents`: how many texts it was trained on; `characters`: how many of a text are read."""

    prompt_router: int  # FORMAT
    documents: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
    characters: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHARACTERS)]
    intercept: float
    terms: Annotated[tuple[Term, ...], msgspec.Meta(min_length=1, max_length=MAX_TERMS)]


def read_router(content: bytes) -> RouterFile:
    """The file's content, all of it sound. Raises ValueError, which says what is not."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        found = msgspec.json.decode(content, type=RouterFile)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"is no prompt router: {error}") from None
    if found.prompt_router != FORMAT:
        raise ValueError(f"is a prompt router of format {found.prompt_router}; this version reads {FORMAT}")
    if not _sound(found.intercept):
        raise ValueError(f"has an intercept beyond {LARGEST:g}")
    for place, term in enumerate(found.terms):
        if objection := _objection(term, found.documents):
            raise ValueError(f"terms[{place}] {objection}")
    if len({term.text for term in found.terms}) < len(found.terms):
        raise ValueError("has a term twice")
    return found


def write_router(router: RouterFile) -> bytes:
    """The file, a term a line, so that two of them can be compared by eye. Raises ValueError where it could not be read again."""
    lines = [msgspec.json.encode(term).decode() for term in router.terms]
    head = msgspec.json.encode(msgspec.structs.replace(router, terms=())).decode().removesuffix("[]}")
    content = (head + "[\n" + ",\n".join(lines) + "\n]}\n").encode()
    read_router(content)
    return content


def scorer(router: RouterFile) -> Scorer:
    """The router, ready."""
    return Scorer(router.terms, router.documents, router.intercept, router.characters)


def _objection(term: Term, documents: int) -> str | None:
    words = term.text.split(" ")
    if len(words) > _WORDS or WORD.findall(term.text) != words:
        return "is not one word, nor two with a space between"
    if not 1 <= term.documents <= documents:
        return f"says it was in {term.documents} of {documents} documents"
    return None if _sound(term.weight) else f"has a weight beyond {LARGEST:g}"


def _sound(number: float) -> bool:
    return math.isfinite(number) and abs(number) <= LARGEST
