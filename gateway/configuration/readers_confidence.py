"""Readers of how a confidence is read from an answer: cascades hold it against a threshold, shadows write it down."""

from __future__ import annotations

import re

from gateway.configuration.decode import read_text
from gateway.configuration.problems import UnreadableError, shown
from gateway.configuration.readers import not_one_of
from routing.shadow.compare_trees import place

METRICS = ("max-softmax", "margin", "entropy", "mean-logprob", "min-logprob")
NAMED = ("output:<name>", "json:<path>")


def read_metric(value: object) -> str:
    """How an output becomes a confidence. Raises UnreadableError."""
    text = read_text(value)
    if text in METRICS or re.fullmatch(r"output:\S(.*\S)?", text):
        return text
    if text.startswith("json:"):
        return f"json:{read_path(text.removeprefix('json:'))}"
    raise not_one_of(text, METRICS, *NAMED)


def read_path(value: object) -> str:
    """A place in a JSON document: `score`, `$.choices[0].logprobs.content[*].logprob`. Raises UnreadableError."""
    text = value if value == "" else read_text(value)
    path = text if text.startswith("$") else f"${text}" if text.startswith("[") else f"$.{text}"
    if not text or place(path) is None:
        raise UnreadableError(f"{shown(text)} is not a place in JSON; write score, scores[0] or choices[*].logprob")
    return path
