"""Tests of gateway.configuration.checks_cascade."""

from __future__ import annotations

import pytest

from tests.gateway.configuration.test_checks import FIRST, cascade, found, only, stages


@pytest.mark.parametrize(
    ("written", "path", "below", "what", "meant"),
    [
        (("use: fast, accept: 92", "use: accurate"), "stages[0].accept", 4, "92 is out of range", "0.92"),
        (("use: fast, accept: 1.2", "use: accurate"), "stages[0].accept", 4, "1.2 is out of range", None),
        (("use: fast, accept: 94%", "use: accurate"), "stages[0].accept", 4, "'94%' is not a number", "0.94"),
        (("use: fast, accept: -0.1", "use: accurate"), "stages[0].accept", 4, "max-softmax lies between 0 and 1", None),
        (("use: fast, accept: 1.5e9", "use: accurate"), "stages[0].accept", 4, "out of range", None),
        (("use: fast", "use: accurate"), "stages[0]", 4, "'accept' is missing", None),
        (("use: fast, accept: 0.9", "use: accurate, accept: 0.5"), "stages[1].accept", 5, "takes whatever comes", None),
        (("use: accurate",), "stages", 3, "at least two stages", None),
        (("use: balanced, accept: 0.9", "use: fast"), "stages[1].use", 5, "'fast' (cost 1) is cheaper than 'balanced'", None),
        (("use: fast, accept: 0.9", "use: fast"), "stages[1].use", 5, "'fast' is already on line", None),
        (("use: fast, accept: 0.9", "use: acurate"), "stages[1].use", 5, "unknown variant 'acurate'", "accurate"),
        (("use: fast, accept: high", "use: accurate"), "stages[0].accept", 4, "'high' is not a number", None),
    ],
)
def test_stages(written: tuple[str, ...], path: str, below: int, what: str, meant: str | None) -> None:
    """A cascade whose stages cannot do what they say is refused."""
    problems = [problem for problem in found(cascade(stages(*written))) if problem[0].endswith(path)]
    assert problems
    place, line, message, suggestion = problems[0]
    assert (f"models.digits.routes[0].cascade.{path}", FIRST + below + 1, meant) == (place, line, suggestion)
    assert what in message


TWO = ("use: fast, accept: 0.9", "use: accurate")
ONE = "{other: [[0.2, 0.3], [0.9, 0.97]]}"


@pytest.mark.parametrize(
    ("metric", "accept"),
    [
        ("max-softmax, logits: true", "0.9"),
        ("mean-logprob", "-0.1"),
        ("min-logprob, path: 'choices[0].logprobs.content[*].logprob'", "-2"),
        ("'json:score'", "70"),
        (f"margin, calibration: {{maps: {ONE}}}", "0.97"),
        (f"'json:score', calibration: {{maps: {ONE}}}", "0.5"),
        ("min-logprob, calibration: {maps: {other: [[-3, 0.1], [0, 1]]}}", "0.5"),
        (
            "entropy, calibration: {label: answer, maps: {yes: [[0, 0.1]], 'n o': [[0, 0.2], [1, 0.2]], other: [[0, 0.9]]}}",
            "0.5",
        ),
        ("margin, calibration: {maps: {'0': [[0, 0.1]], '11': [[0, 0.95]], other: [[0, 0.9]]}}", "0.93"),
        ("max-softmax, calibration: {maps: {other: [[-1.0e-07, 0.1], [1.00000012, 0.98]]}}", "0.9"),  # sums of FP32
        ("min-logprob, calibration: {maps: {other: [[1.0e-07, 0.98]]}}", "0.9"),
    ],
)
def test_confidences_that_make_sense(metric: str, accept: str) -> None:
    """Logits, log-probabilities, documents, maps by label: each with thresholds of its own range."""
    assert [] == found(cascade(stages(f"use: fast, accept: {accept}", "use: accurate"), f"{{output: p, metric: {metric}}}"))


@pytest.mark.parametrize(
    ("metric", "accept", "path", "what", "meant"),
    [
        ("mean-logprob", "0.9", "stages[0].accept", "a log-probability is never above 0", "-0.9"),
        (f"'json:a', calibration: {{maps: {ONE}}}", "70", "stages[0].accept", "a calibrated score lies between 0 and 1", "0.7"),
        (f"margin, calibration: {{maps: {ONE}}}", "0.98", "stages[0].accept", "never reached: no map goes beyond 0.97", "0.97"),
        ("margin, calibration: {maps: {'0': [[0, 1]]}}", "0.5", "confidence.calibration.maps", "'other' is missing", None),
        ("margin, calibration: {maps: {cat: [[0, 1]], other: [[0, 1]]}}", "0.5", "maps.cat", "'cat' is unknown", None),
        ("margin, calibration: {maps: {'07': [[0, 1]], other: [[0, 1]]}}", "0.5", "maps.07", "'07' is unknown", "7"),
        ("'json:a', calibration: {maps: {'0': [[0, 1]], other: [[0, 1]]}}", "0.5", "maps.0", "tells no label", None),
        ("margin, calibration: {maps: {other: [[0.5, 0.2], [0.5, 0.3]]}}", "0.1", "other[1]", "raw scores must rise", None),
        ("margin, calibration: {maps: {other: [[0.5, 0.4], [0.6, 0.3]]}}", "0.1", "other[1]", "not less often right", None),
        (
            "margin, calibration: {maps: {other: [[0.9, 0.9], [0.5, 0.4]]}}",
            "0.1",
            "other[1]",
            "[0.5, 0.4] follows [0.9, 0.9]",
            "[[0.5, 0.4], [0.9, 0.9]]",
        ),
        ("margin, calibration: {maps: {other: [[1.5, 0.9]]}}", "0.1", "other[0]", "margin is between 0 and 1", None),
        ("min-logprob, calibration: {maps: {other: [[1, 0.9]]}}", "0.1", "other[0]", "min-logprob is never above 0", None),
        ("margin, calibration: {maps: {other: [[0.5, 1.2]]}}", "0.1", "other[0]", "1.2 is no chance of being right", None),
        ("margin, calibration: {maps: {other: [0.5]}}", "0.1", "other[0]", "is not a knot", None),
        ("margin, calibration: {maps: {other: []}}", "0.1", "maps.other", "the list is empty", None),
        ("margin, calibration: {lable: l, maps: {other: [[0, 1]]}}", "0.1", "calibration.lable", "unknown key", "label"),
    ],
)
def test_confidences_that_make_none(metric: str, accept: str, path: str, what: str, meant: str | None) -> None:
    """Each is named with its line, and with what was meant where that can be told."""
    text = cascade(stages(f"use: fast, accept: {accept}", "use: accurate"), f"{{output: p, metric: {metric}}}")
    place, line, message, suggestion = only(text)
    assert (True, meant) == (place.endswith(path), suggestion), place
    assert what in message
    assert FIRST + (4 if "stages" in path else 2) + 1 == line


def test_maps_of_a_stage() -> None:
    """Are judged as those of the confidence, and stand in their place; the last stage has none."""
    own = "use: fast, accept: 0.6, calibration: {maps: {other: [[0, 0.5]]}}"
    last = f"use: accurate, calibration: {{maps: {ONE}}}"
    usual = f"{{output: p, metric: margin, calibration: {{maps: {ONE}}}}}"
    problems = [(path.partition("cascade.")[2], what) for path, _, what, _ in found(cascade(stages(own, last), usual))]
    (first, never), (second, nobody) = problems
    assert ("stages[0].accept", "stages[1].calibration") == (first, second)
    assert "never reached: no map goes beyond 0.5" in never
    assert "takes whatever comes" in nobody


@pytest.mark.parametrize(("share", "problems"), [("60%", 0), ("100%", 0), ("0%", 1), ("0.6", 1)])
def test_speculate(share: str, problems: int) -> None:
    """A share of rows, more than none of them."""
    text = cascade(stages(*TWO)).replace("stages:", f"speculate: {share}\n          stages:")
    assert problems == len(found(text))
