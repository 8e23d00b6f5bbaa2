"""Scores a text by the words in it: TF-IDF and logistic regression, as scikit-learn's own, without scikit-learn.

Theory. The text is put in lower case; its words are all runs of two or more word characters, its terms these and, where the
router knows pairs, every two that follow each other. A known term weighs its count times its idf,
1 + ln((1 + documents) / (1 + documents that have it)); the vector of all weights is made one long. The score is the logistic
function of that vector's product with the coefficients, plus the intercept. As the vector is never needed itself, each
term is kept as two numbers, idf x coefficient and idf squared, and a text costs one product and one length.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import msgspec
import numpy as np

WORD = re.compile(r"\w\w+")  # finds what scikit-learn's (?u)\b\w\w+\b finds, a third quicker: a match always takes the whole run
UNIT = 1_000_000  # scores are compared as whole millionths, rounded down, so that no threshold falls between two floats
MOST_TEXTS = 16  # of one request that are read: what planning a request may cost is bounded


class Term(msgspec.Struct, frozen=True, array_like=True):
    """A word, or two with a space between; in how many of the training documents it was; its coefficient."""

    text: str
    documents: int
    weight: float


class Scorer:
    """One router, ready. Equal to another if it was made of the same file. Of a text only the first `characters` are read."""

    def __init__(self, terms: Iterable[Term], documents: int, intercept: float, characters: int) -> None:
        every = list(terms)
        self._words = {term.text: at for at, term in enumerate(every) if " " not in term.text}
        self._pairs = {tuple(term.text.split(" ")): at for at, term in enumerate(every) if " " in term.text}
        inverse = 1.0 + np.log((1 + documents) / (1.0 + np.array([term.documents for term in every])))
        self._gain = inverse * np.array([term.weight for term in every])
        self._square = inverse * inverse
        self._intercept = intercept
        self.characters = characters

    def decision(self, text: str) -> float:
        """The log odds that the text needs the strong model."""
        found = WORD.findall(text[: self.characters].lower())
        counted = Counter[int | None](map(self._words.get, found))
        if self._pairs:
            counted.update(map(self._pairs.get, pairwise(found)))
        counted.pop(None, None)
        places = np.fromiter(counted.keys(), np.intp, len(counted))
        counts = np.fromiter(counted.values(), np.float64, len(counted))
        length = math.sqrt((counts * counts) @ self._square[places])
        return self._intercept + (float(counts @ self._gain[places]) / length if length else 0.0)

    def score(self, text: str) -> float:
        """The chance that the text needs the strong model, from 0 to 1."""
        odds = self.decision(text)
        return 1.0 / (1.0 + math.exp(-odds)) if odds > -700.0 else 0.0  # beyond that exp overflows

    def highest(self, texts: Iterable[str]) -> int | None:
        """The score of the hardest of these texts, in 1/UNIT rounded down; None without one."""
        return max((int(self.score(text) * UNIT) for text in texts), default=None)


class PromptRouter(msgspec.Struct, frozen=True):
    """A router as a policy names it: its input, its file's SHA-256; without `scorer` where nothing is to be scored."""

    name: str
    input: str
    sha256: str
    scorer: Scorer | None = None

    @property
    def key(self) -> str:
        """Stands for its scores wherever they are written down, whatever a policy calls it."""
        return f"{self.sha256[:16]} {self.input}"
