"""A seeded binary strong/weak set of prompts, since no real one can be fetched from here: English words, noise in every label.

What a prompt needs hangs on its topic, its verb, a negation's neighbour and its length, none of which a single word gives away,
and one label in eight is wrong: of an APGR of .77, which knowing every label has, words alone give .63.
"""

from __future__ import annotations

import math
import re
from random import Random

TOPICS = {
    "number theory": 1.6,
    "linear algebra": 1.2,
    "concurrent programs": 1.4,
    "tax law": 0.9,
    "organic chemistry": 0.8,
    "quantum mechanics": 1.3,
    "compiler design": 1.0,
    "cooking": -1.2,
    "travel in Italy": -1.0,
    "film history": -0.5,
    "house plants": -1.3,
    "greetings": -1.6,
    "world capitals": -1.4,
    "sports results": -0.9,
}
VERBS = {
    "prove": 1.5,
    "derive": 1.2,
    "refactor": 0.9,
    "compare": 0.3,
    "explain": 0.1,
    "summarise": -0.4,
    "translate": -0.5,
    "list": -1.0,
    "name": -1.2,
    "spell": -1.4,
}
FILLER = tuple(
    re.findall(
        r"\w+",
        "please the a of and for with about which that in on this my our we you can could would short long text answer question"
        " example reader friend class step simple exact result part case number word idea first last next because while after",
    )
)


def prompts(rows: int, seed: int) -> tuple[list[str], list[bool]]:
    """So many prompts, and whether each needs the strong model."""
    chance = Random(seed)
    texts, needed = list[str](), list[bool]()
    for _ in range(rows):
        topic, verb = chance.choice(list(TOPICS)), chance.choice(list(VERBS))
        other = chance.choice(list(TOPICS))  # is spoken of, and does not count
        length = chance.randint(4, 90)
        words = [chance.choice(FILLER) for _ in range(length)]
        words.insert(0, verb)
        words.insert(chance.randrange(len(words)), topic)
        if chance.random() < 0.4:
            words.insert(chance.randrange(len(words)), f"not {other}")
        text = " ".join(words)
        texts.append(text[0].upper() + text[1:] + chance.choice(".?! "))
        odds = TOPICS[topic] + VERBS[verb] + 0.015 * (length - 45) - 0.3
        hard = chance.random() < 1 / (1 + math.exp(-1.5 * odds))
        needed.append(hard if chance.random() < 0.875 else not hard)
    return texts, needed
