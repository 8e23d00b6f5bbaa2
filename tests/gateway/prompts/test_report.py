"""Tests of gateway.prompts.report: the worth in numbers and words, and a patch that a policy takes."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.prompts.report import patch, told, worth
from gateway.prompts.rows import Prompts

PROMPTS = Prompts([f"text {number}" for number in range(100)], (np.arange(100) % 4 == 0).astype(float))


def test_the_worth_is_told_by_share() -> None:
    """What part of the gain and of the cost each share of strong calls has, and the threshold for the share that is wanted."""
    scores = np.where(PROMPTS.needed, 0.8, 0.2)
    scores[0] = 0.9
    found = worth(PROMPTS, scores, 0.25, (1.0, 40.0), 0)
    assert (100, 25) == (found.rows, found.strong)
    assert found.wanted is not None
    assert (0.25, 0.8, 1.0) == (found.wanted.share, found.wanted.at_least, found.wanted.recovered)
    assert pytest.approx(0.25 + 0.75 / 40) == found.wanted.cost
    assert (1.0, 0.2, 1.0) == (found.points[-1].share, found.points[-1].at_least, found.points[-1].recovered)  # all tie
    text = "\n".join(told(found))
    assert "100 prompts, 25 of them need the strong model" in text
    assert "    25.0%  0.8            100.0%                  26.9%  ← wanted" in text


def test_without_costs_none_are_told() -> None:
    """Nor is a share that nobody wants."""
    found = worth(PROMPTS, PROMPTS.gains, None, None, 0)
    assert found.wanted is None
    assert not any("cost" in line or "wanted" in line for line in told(found))


def test_the_patch_names_file_hash_and_threshold() -> None:
    """Half where no share was wanted."""
    assert 'difficulty: {file: r.json, sha256: "abcd", input: INPUT}' in patch("r.json", "abcd", 0.625)
    assert "match: {prompt: {difficulty: {at_least: 0.625}}}" in patch("r.json", "abcd", 0.625)
    assert "at_least: 0.5}" in patch("r.json", "abcd", None)
