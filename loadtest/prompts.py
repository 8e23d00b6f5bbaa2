"""What scoring a prompt costs, by its length, and a request whose route looks at a score: `python -m loadtest.prompts`.

CPU time of this process, the best of many rounds, since nothing here waits. The router has 20 000 words and 20 000 pairs with the
lengths and frequencies of English (Zipf's law); prompts are drawn from its words, three in four of which it knows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from msgspec.structs import replace

from backends.inference import InferenceRequest, Tensors, TensorSpec
from backends.tensors import Tensor, pack_bytes
from gateway.question import looked_at
from routing.conditions import Looks
from routing.match import Question
from routing.principal import Principal
from routing.prompt.scorer import PromptRouter, Scorer, Term

WORDS, ROUNDS, REPEATS = 20_000, 40, 100
LENGTHS = (100, 500, 1000, 2000)  # characters; 2000 is the cut unless a router was trained with another
BAR = 100.0  # µs for a normal prompt


def vocabulary(chance: Random) -> list[str]:
    """Words as long as English ones are, all different."""
    found: dict[str, None] = {}
    while len(found) < WORDS:
        length = min(14, max(2, round(chance.gauss(5.5, 2.2))))
        found["".join(chance.choices("etaoinshrdlucmfwypvbgkqjxz", range(26, 0, -1), k=length))] = None
    return list(found)


def router(words: list[str], chance: Random, pairs: bool) -> Scorer:
    """One that knows three words in four, and as many pairs."""
    known = [word for word in words if chance.random() < 0.75]
    terms = [Term(word, chance.randint(1, 300), chance.gauss(0.0, 1.0)) for word in known]
    if pairs:
        two = dict.fromkeys(f"{chance.choice(known)} {chance.choice(known)}" for _ in range(WORDS))
        terms += [Term(pair, 1, chance.gauss(0.0, 1.0)) for pair in two]
    return Scorer(terms, 1500, -0.3, 2000)


def prompt(words: list[str], chance: Random, characters: int) -> str:
    """A text of so many characters."""
    frequencies = [1.0 / (rank + 2.7) for rank in range(len(words))]
    drawn = chance.choices(words, frequencies, k=characters)
    return " ".join(drawn)[:characters].capitalize()


def microseconds(work: Callable[[], object]) -> float:
    """Of CPU time, the best round's mean."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(REPEATS):
            work()
        best = min(best, (time.process_time() - began) / REPEATS * 1e6)
    return best


def measured() -> list[tuple[str, int, float]]:
    """What, at how many characters, µs."""
    chance = Random(7)
    words = vocabulary(chance)
    found = []
    for name, scorer in (("words", router(words, chance, False)), ("words and pairs", router(words, chance, True))):
        for characters in LENGTHS:
            text = prompt(words, chance, characters)
            found.append((f"score, {name}", characters, microseconds(partial(scorer.score, text))))
    packed = pack_bytes([prompt(words, chance, 500).encode()])
    request = InferenceRequest(
        "m", "", "", {}, (TensorSpec("p", "BYTES", (1,)),), (), Tensors((Tensor("p", "BYTES", (1,), packed),))
    )
    question = Question(Principal("ann"), {}, 1, {}, "", "r")
    looks = Looks(prompts=frozenset({"d"}), routers=(PromptRouter("d", "p", "0" * 64, router(words, chance, False)),))
    found.append(("what a route with a router looks at", 500, microseconds(lambda: looked_at(question, looks, request))))
    found.append(("of it the question written anew", 500, microseconds(lambda: replace(question, prompts={"d": 1}))))
    return found


def main() -> int:
    """Prints the figures; 1 if a normal prompt takes longer than the bar."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, help="also write them there, as a page")
    found = measured()
    lines = [
        "| what | characters | µs of CPU |",
        "|---|---|---|",
        *(f"| {what} | {length} | {took:.1f} |" for what, length, took in found),
    ]
    print("\n".join(lines))
    if (output := parser.parse_args().output) is not None:
        output.write_text("# What a prompt router costs\n\n`python -m loadtest.prompts`, one core.\n\n" + "\n".join(lines) + "\n")
    normal = max(took for what, length, took in found if length <= 1000 and what.startswith("score"))
    return int(normal > BAR)


if __name__ == "__main__":
    raise SystemExit(main())
