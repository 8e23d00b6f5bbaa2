"""Fits a prompt router with scikit-learn, away from the gateway, and writes down what the gateway needs to evaluate it alone."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.calibrate.reading import INSTALL, RowsError
from gateway.prompts.rows import Prompts
from routing.prompt.file import FORMAT, MAX_TERMS, RouterFile, scorer
from routing.prompt.gain import Numbers
from routing.prompt.scorer import Scorer, Term

FOLDS = 5
CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Settings:
    """`words` of a term at most: 1 or 2. `characters` of a text that are read. `seed` deals the rows into folds."""

    words: int = 1
    characters: int = CHARACTERS
    seed: int = 0


def fitted(texts: Sequence[str], needed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], settings: Settings) -> RouterFile:
    """scikit-learn's TfidfVectorizer and LogisticRegression as they are without options. Raises RowsError."""
    vectorizer, model = estimators(settings)
    try:
        weights = vectorizer.fit_transform([text[: settings.characters] for text in texts])
    except ValueError:  # "empty vocabulary"
        raise RowsError("there is no word of two letters or more in any text: nothing can be learnt from them") from None
    model.fit(weights, needed)
    counts = _documents(weights)
    terms = [
        Term(str(text), int(counts[place]), float(model.coef_[0, place]))
        for text, place in sorted(vectorizer.vocabulary_.items())
    ]
    return RouterFile(FORMAT, len(texts), settings.characters, float(model.intercept_[0]), tuple(terms))


def estimators(settings: Settings) -> tuple[Any, Any]:
    """The two, not fitted yet. Raises RowsError where scikit-learn is not installed."""
    vectorizer = _learning("feature_extraction.text").TfidfVectorizer(ngram_range=(1, settings.words), max_features=MAX_TERMS)
    return vectorizer, _learning("linear_model").LogisticRegression(max_iter=1000)


def unseen(prompts: Prompts, settings: Settings) -> Numbers:
    """Each text's score by a router that was fitted without it and a fifth of the others: what new traffic would get.

    Raises RowsError as `fitted`.
    """
    folds = _learning("model_selection").StratifiedKFold(FOLDS, shuffle=True, random_state=settings.seed)
    scores = np.zeros(len(prompts.texts))
    for learnt, left in folds.split(prompts.texts, prompts.needed):
        made = scorer(fitted([prompts.texts[at] for at in learnt], prompts.needed[learnt], settings))
        scores[left] = scored(made, [prompts.texts[at] for at in left])
    return scores


def scored(made: Scorer, texts: Sequence[str]) -> Numbers:
    """Every text's score, by the gateway's own evaluation."""
    return np.array([made.score(text) for text in texts])


def _documents(weights: Any) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """In how many texts each term is."""
    return np.asarray(weights.getnnz(axis=0))


def _learning(name: str) -> Any:
    """A module of scikit-learn's. Raises RowsError where that is not installed."""
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ImportError as error:
        raise RowsError(f"what learns is not installed here (the gateway itself does not need it): {INSTALL}") from error
