"""What differs between two policies' shadows, in words."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.review.changes import changes
from tests.gateway.configuration.test_checks_shadows import GOOD, policy

AGAIN = "; what was counted so far counts no more"


@pytest.mark.parametrize(
    ("now", "path", "words"),
    [
        (GOOD.replace("20", "30"), "dark.fraction", "20 % → 30 % of the questions"),
        (
            GOOD.replace("next", "fast"),
            "dark",
            f"20 % of the questions of dear to next → 20 % of the questions of dear to fast{AGAIN}",
        ),
        (
            f"{GOOD}, compare: {{p: exact, q: {{atol: 0.1, cosine: 0.9}}, r: {{json: {{$.a: ignore}}}}}}",
            "dark.compare",
            f"each datatype's own tolerance → p exact, q atol 0.1 cosine 0.9, r ($.a ignore){AGAIN}",
        ),
        (f"{GOOD}, noise: 50%", "dark.noise", "100 % → 50 %"),
        (f"{GOOD}, timeout: 1s", "dark.timeout", "none → 1s"),
        (f"{GOOD}, queue: 9", "dark.queue", "32 → 9"),
        (f"{GOOD}, budget: 100/h", "dark.budget", "none → 100 of cost in 1h"),
        (f"{GOOD}, payloads: true", "dark.payloads", "not kept → kept"),
        (
            f"{GOOD}, record: {{metric: margin, output: p}}",
            "dark.record",
            "no pairs of answers are recorded → pairs are recorded by margin of p, label the largest",
        ),
        (f"{GOOD}, except: {{tenant: t, tier: u}}", "dark.except", "nobody spared → tenant t, tier u"),
    ],
)
def test_one_change(now: str, path: str, words: str) -> None:
    """Where, and what it is."""
    documents = (load_policy(policy(each), "p") for each in (GOOD, now))
    assert [(f"models.digits.shadows.{path}", words)] == list(map(tuple, changes(*documents)))


def test_coming_and_going() -> None:
    """Told with what it mirrors."""
    one, other = (load_policy(policy(GOOD).replace(b"name: dark", name), "p") for name in (b"name: dark", b"name: dusk"))
    assert [
        "shadow 'dark' goes: 20 % of the questions of dear to next",
        "shadow 'dusk' is new: 20 % of the questions of dear to next",
    ] == [each.text for each in changes(one, other)]
