"""Reports of shadows that have seen something, made of seeded chance, for the tests of what is shown."""

from __future__ import annotations

import numpy as np

from gateway.shadow.report import Report, report
from routing.plan import Target
from routing.shadow.compare import Found
from routing.shadow.shadows import Shadow
from routing.shadow.tally import Ledger, Paired

SHADOW = Shadow("dark", "live", "next", 0.2, epoch="e")
LIVE, NEXT = Target("live", "t", "d", "1", 40.0), Target("next", "t", "d", "2", 60.0)
NASTY = '<script>alert("x")</script>'


def ledger(questions: int, raw: float, noise: float = 0.0, pairs: bool = True) -> Ledger:
    """`label` differs in a share `raw` of the questions, and from itself in `noise`; `probabilities` never."""
    chance, made = np.random.default_rng(3), Ledger("e")
    for at in range(questions):
        differs, own = chance.random() < raw, chance.random() < noise
        label = Found("label", float("inf"), "values", {"unequal": 1.0}, (("7", "9", 1),)) if differs else Found("label")
        found = (Found("probabilities", 0.1, "values", {"max_abs": 1e-6}), label)
        again = (Found("probabilities"), Found("label", float("inf") if own else 0.0)) if pairs else None
        traits = {"tenant": NASTY if at % 7 == 0 else "acme", "shape": f"image[{1 + at % 3}×64]"}
        seconds = (0.010, float(chance.gamma(9, 0.0013)), float(chance.gamma(9, 0.001)) if pairs else None)
        made.count("compared")
        made.add(Paired(f"r-{at}", 1.7e9 + at, traits, found, again, seconds, (40.0, 60.0, 40.0)), ("1", "2"))
    made.count("queue-full")
    return made


def shown(questions: int, raw: float, noise: float = 0.0, pairs: bool = True) -> Report:
    """The report of it."""
    return report("digits", SHADOW, (NEXT, LIVE), ledger(questions, raw, noise, pairs))
