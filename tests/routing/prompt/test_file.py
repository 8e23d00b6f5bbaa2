"""Tests of routing.prompt.file: what is written can be read, and what means harm is refused in a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.prompt.file import FORMAT, MAX_BYTES, MAX_TERMS, RouterFile, read_router, scorer, write_router
from routing.prompt.scorer import Term

ROUTER = RouterFile(FORMAT, 10, 2000, -0.5, (Term("prove", 2, 1.5), Term("ça va", 3, -1e-12)))


def test_what_is_written_is_read_again() -> None:
    """To the last digit; a term stands on a line of its own."""
    content = write_router(ROUTER)
    assert ROUTER == read_router(content)
    assert b'\n["prove",2,1.5],\n' in content
    assert scorer(ROUTER).score("prove") == scorer(read_router(content)).score("prove")


def changed(**parts: Any) -> bytes:
    return json.dumps({**json.loads(write_router(ROUTER)), **parts}).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no prompt router: Input data was truncated"),
        (b"\x80\x04pickle", "is no prompt router"),
        (b"[" * 100_000, "is no prompt router"),
        (b" " * (MAX_BYTES + 1), "is larger than 4 MiB"),
        (changed(prompt_router=2), "is a prompt router of format 2; this version reads 1"),
        (changed(more=1), "unknown field `more`"),
        (changed(documents=0), "documents"),
        (changed(documents=True), "documents"),
        (changed(characters=10**9), "characters"),
        (changed(intercept=1e7), "has an intercept beyond 1e+06"),
        (changed(intercept="0"), "intercept"),
        (write_router(ROUTER).replace(b"-0.5", b"1e999"), "is no prompt router"),
        (write_router(ROUTER).replace(b"-0.5", b"NaN"), "is no prompt router"),
        (changed(terms=[]), "terms"),
        (changed(terms=[["a1", 1, 0.0]] * (MAX_TERMS + 1)), "terms"),
        (changed(terms=[["prove", 1, 0.0], ["prove", 2, 0.0]]), "has a term twice"),
        (changed(terms=[["prove", 1]]), "terms"),
        (changed(terms=[["prove", 11, 0.0]]), "terms[0] says it was in 11 of 10 documents"),
        (changed(terms=[["prove", 0, 0.0]]), "terms[0] says it was in 0 of 10 documents"),
        (changed(terms=[["prove", 1, -2e6]]), "terms[0] has a weight beyond 1e+06"),
        *(
            (changed(terms=[[text, 1, 0.0]]), "terms[0] is not one word")
            for text in ("", "a", "aa  bb", "aa bb cc", "aa-bb", " aa")
        ),
        (b'{"prompt_router":1,"intercept":"\\ud800"}', "is no prompt router"),
    ],
)
def test_what_means_harm_is_refused(content: bytes, why: str) -> None:
    """In a sentence, quickly, whatever it is."""
    with pytest.raises(ValueError) as caught:
        read_router(content)
    assert why in str(caught.value)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_a_damaged_file_is_read_or_refused(noise: bytes, place: int) -> None:
    """Nothing else can happen."""
    content = write_router(ROUTER)
    try:
        read_router(content[:place] + noise + content[place + len(noise) :])
    except ValueError:
        pass
