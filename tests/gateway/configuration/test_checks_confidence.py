"""Tests of gateway.configuration.checks_confidence."""

from __future__ import annotations

import pytest

from tests.gateway.configuration.test_checks import FIRST, GOOD, cascade, found, only, stages


@pytest.mark.parametrize(
    ("confidence", "path", "what"),
    [
        ("{metric: margin}", "confidence", "'output' is missing"),
        ("{output: p}", "confidence", "'metric' is missing"),
        (
            "{output: p, metric: sureness}",
            "confidence.metric",
            "is not one of max-softmax, margin, entropy, mean-logprob, min-logprob, output:<name> or json:<path>",
        ),
        ("{output: p, metric: 'json:a..b'}", "confidence.metric", "is not a place in JSON"),
        ("{metric: 'json:a.b'}", "confidence", "'output' is missing"),
        ("{output: p, metric: 'output:q'}", "confidence.output", "names another output already"),
        ("{metric: 'output:'}", "confidence.metric", "is not one of"),
        ("{output: p, metric: 'json:a', logits: true}", "confidence.logits", "not read from classes"),
        ("{output: p, metric: margin, path: a}", "confidence.path", "margin is not read from JSON"),
        ("{output: p, metric: 'json:a', path: b}", "confidence.path", "the place stands in the metric already"),
    ],
)
def test_confidence(confidence: str, path: str, what: str) -> None:
    """Which output is read and how must be clear."""
    place, line, message, _ = only(cascade(GOOD, confidence))
    assert (f"models.digits.routes[0].cascade.{path}", FIRST + 3) == (place, line)
    assert what in message


@pytest.mark.parametrize("accept", ["-3", "0.5", "1000"])
def test_confidence_of_the_model_itself(accept: str) -> None:
    """An output that is a confidence itself may have any range."""
    assert [] == found(cascade(stages(f"use: fast, accept: {accept}", "use: accurate"), "{metric: 'output:sure'}"))
