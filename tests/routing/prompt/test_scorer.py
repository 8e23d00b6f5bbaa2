"""Tests of routing.prompt.scorer: scikit-learn's numbers, from a plain list of terms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from routing.prompt.scorer import UNIT, WORD, PromptRouter, Scorer, Term

TERMS = (Term("prove", 2, 1.5), Term("that", 7, 0.25), Term("list", 3, -2.0), Term("prove that", 1, 3.0))


def made(terms: tuple[Term, ...] = TERMS, *, characters: int = 2000) -> Scorer:
    return Scorer(terms, documents=10, intercept=-0.5, characters=characters)


def idf(documents: int) -> float:
    return 1 + math.log(11 / (1 + documents))


def test_a_text_is_scored_by_its_terms_pairs_included() -> None:
    """Counts times idf, one long, times the coefficients, by hand."""
    weights = {"prove": 2 * idf(2), "that": idf(7), "prove that": idf(1)}
    length = math.sqrt(sum(weight**2 for weight in weights.values()))
    odds = (weights["prove"] * 1.5 + weights["that"] * 0.25 + weights["prove that"] * 3.0) / length - 0.5
    assert pytest.approx(odds, abs=1e-12) == made().decision("Prove THAT it can (prove) a unknownword")
    assert pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-12) == made().score("Prove THAT it can (prove) a unknownword")


@pytest.mark.parametrize("text", ["", "  ", "a b c", "日", "unknown words only", "\x00\ufffd"])
def test_a_text_without_a_known_term_has_the_intercept(text: str) -> None:
    """As scikit-learn's vector of zeros."""
    assert -0.5 == made().decision(text)


def test_only_the_first_characters_are_read() -> None:
    """What lies behind the cut changes nothing, a word that it cuts counts as what is left of it."""
    assert made(characters=12).decision("list of that prove") == made().decision("list of that")
    assert made(characters=6).decision("list proven") == made().decision("list p")


def test_a_score_never_overflows() -> None:
    """The largest weights that a file may have give 0 and 1."""
    assert 0.0 == made((Term("list", 1, -1e6),)).score("list")
    assert 1.0 == made((Term("list", 1, 1e6),)).score("list")


def test_the_hardest_text_of_several_counts() -> None:
    """In whole millionths, rounded down; without a text there is no score."""
    scorer = made()
    assert int(scorer.score("prove that") * UNIT) == scorer.highest(["list", "prove that", "that"])
    assert scorer.highest([]) is None


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_words_are_those_that_scikit_learn_finds(text: str) -> None:
    """In any script, whatever lower case makes of it."""
    assert TfidfVectorizer().build_analyzer()(text) == WORD.findall(text.lower())


def test_a_router_s_scores_are_known_by_file_and_input() -> None:
    """Whatever the policy calls it."""
    one, other = (PromptRouter(name, "text", "ab" * 32) for name in ("difficulty", "hard"))
    assert one.key == other.key == "abababababababab text"
    assert one.key != PromptRouter("difficulty", "prompt", "ab" * 32).key
