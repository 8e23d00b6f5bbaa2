"""Tests of gateway.prompts.training: what the gateway evaluates is what scikit-learn fitted."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.calibrate.reading import RowsError
from gateway.prompts.rows import Prompts
from gateway.prompts.training import Settings, fitted, scored, unseen
from routing.prompt.file import read_router, scorer, write_router
from routing.prompt.gain import curve
from tests.gateway.prompts.synthetic import prompts

ROWS = 1500
HOSTILE = st.text(
    st.one_of(st.sampled_from("aàbcİıßſǅΣς١٢_'’- \n\t\u200d\u0301日本한é0"), st.characters(codec="utf-8")),
    min_size=0,
    max_size=60,
)


def theirs(words: int = 1) -> tuple[Any, Any]:
    """What scikit-learn counts words with, and what it fits; imported late: every worker imports this file, one asks."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    return TfidfVectorizer(ngram_range=(1, words)), LogisticRegression()


def test_on_1500_labels_the_gain_is_scikit_learn_s_own() -> None:
    """The bar is .02 APGR; it is the same to nine digits, on prompts that neither has seen, and far from drawing lots."""
    texts, needed = prompts(2 * ROWS, 7)
    vectorizer, model = theirs()
    model.fit(vectorizer.fit_transform(texts[:ROWS]), needed[:ROWS])
    expected = model.predict_proba(vectorizer.transform(texts[ROWS:]))[:, 1]
    content = write_router(fitted(texts[:ROWS], np.array(needed[:ROWS]), Settings()))
    ours = scored(scorer(read_router(content)), texts[ROWS:])
    gains = np.array(needed[ROWS:], dtype=float)
    assert 0 == pytest.approx(np.abs(ours - expected).max(), abs=1e-9)
    assert curve(expected, gains).apgr == pytest.approx(curve(ours, gains).apgr, abs=1e-9)
    assert curve(ours, gains).apgr > 0.6


@pytest.mark.parametrize("words", [1, 2])
@settings(deadline=None, max_examples=25)
@given(st.lists(HOSTILE, min_size=3, max_size=12), st.lists(HOSTILE, max_size=5))
def test_any_text_has_scikit_learn_s_score(words: int, learnt: list[str], more: list[str]) -> None:
    """Trained and asked in any script, with the cut before anything else, to 1e-9 in the log odds."""
    learnt = ["alpha beta", *learnt]
    needed = np.arange(len(learnt)) % 2 == 0
    cut = [text[:40] for text in (*learnt, *more)]
    vectorizer, model = theirs(words)
    model.fit(vectorizer.fit_transform(cut[: len(learnt)]), needed)
    expected = model.decision_function(vectorizer.transform(cut))
    made = scorer(read_router(write_router(fitted(learnt, needed, Settings(words=words, characters=40)))))
    assert pytest.approx(expected, abs=1e-9) == [made.decision(text) for text in (*learnt, *more)]


def test_unseen_scores_are_those_of_routers_that_do_not_know_the_text() -> None:
    """A label that nothing in the text tells cannot be told: lots, where the router that has seen the text knows it by heart."""
    chance = np.random.default_rng(5)
    texts = [f"word{number:04} thing{chance.integers(50):02}" for number in range(300)]
    drawn = Prompts(texts, (chance.random(300) < 0.5).astype(float))
    heart = scored(scorer(fitted(texts, drawn.needed, Settings())), texts)
    assert curve(heart, drawn.gains).apgr > 0.7
    assert 0.4 < curve(unseen(drawn, Settings()), drawn.gains).apgr < 0.6


def test_texts_without_words_are_refused() -> None:
    """In a sentence."""
    with pytest.raises(RowsError, match="no word of two letters"):
        fitted(["a", "?"], np.array([True, False]), Settings())


@pytest.mark.parametrize("missing", ["feature_extraction.text", "linear_model", "model_selection"])
def test_without_scikit_learn_the_command_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else breaks."""
    monkeypatch.setitem(sys.modules, f"sklearn.{missing}", None)
    texts = ["one two", "three"] * 10
    with pytest.raises(RowsError, match=r"pip install 'penstock\[offline\]'"):
        unseen(Prompts(texts, (np.arange(20) % 2).astype(float)), Settings())
