"""Tests of loadtest.prompts: it measures what is scored, and a normal prompt keeps to its bar."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from loadtest.prompts import BAR, WORDS, microseconds, prompt, router, vocabulary


@pytest.mark.timed
def test_a_normal_prompt_is_scored_within_its_bar() -> None:
    """500 characters by a router of 15 000 words and 20 000 pairs, in the best of many rounds of CPU time."""
    chance = Random(7)
    words = vocabulary(chance)
    assert WORDS == len(words)
    scorer, text = router(words, chance, pairs=True), prompt(words, chance, 500)
    assert 500 == len(text)
    assert scorer.decision("") != scorer.decision(text)
    assert microseconds(partial(scorer.score, text)) < BAR
