"""Tests of gateway.configuration.checks_prompts: routers that nobody uses, and scores that nobody can have, are refused."""

from __future__ import annotations

import pytest

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError

SHA = "0" * 64
POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  chat:
    variants:
      small: {backend: triton, model: s}
      large: {backend: triton, model: l}
    routers: ROUTERS
    routes:
      - {name: hard, match: {MATCH}, use: large}
      - {name: rest, use: small}
"""
ROUTER = f"{{file: d.json, sha256: {SHA}, input: text}}"
ONE = f"{{difficulty: {ROUTER}}}"


def policy(match: str, routers: str = ONE) -> bytes:
    return POLICY.replace("ROUTERS", routers).replace("{MATCH}", f"{{{match}}}").encode()


@pytest.mark.parametrize(
    "match",
    [
        "prompt: {difficulty: {at_least: 0.62}}",
        "prompt: {difficulty: {below: 0.62}}",
        "prompt: {difficulty: {at_least: 0.1, below: 0.62}}, text_length: {text: 5..}",
        "any: [{tier: gold}, {not: {prompt: {difficulty: {below: 0.3}}}}]",
    ],
)
def test_what_makes_sense_is_taken(match: str) -> None:
    """Nested as any other condition; the file is not looked at here."""
    assert "difficulty" in load_policy(policy(match), "p.yaml").models["chat"].routers


@pytest.mark.parametrize(
    ("match", "routers", "said"),
    [
        (
            "prompt: {difficult: {at_least: 0.5}}",
            ONE,
            "prompt.difficult: unknown router 'difficult' — did you mean 'difficulty'?",
        ),
        ("all: [{prompt: {nobody: {below: 0.5}}}]", ONE, "match.all[0].prompt.nobody: unknown router 'nobody'"),
        (
            "tier: gold",
            ONE,
            "p.yaml:8: models.chat.routers.difficulty: no route's match has a prompt with 'difficulty'; leave it out",
        ),
        ("prompt: {difficulty: {}}", ONE, "says nothing of the score: write at_least, below, or both"),
        ("prompt: {difficulty: {below: 0}}", ONE, "no score is below 0"),
        ("prompt: {difficulty: {at_least: 0.5, below: 0.5}}", ONE, "no score is at least 0.5 and below 0.5"),
        ("prompt: {difficulty: 0.5}", ONE, "must be a mapping with at_least or below"),
        ("prompt: {difficulty: {atleast: 0.5}}", ONE, "did you mean 'at_least'?"),
        ("prompt: {difficulty: {at_least: 62}}", ONE, "is not a score: a number from 0 to 1"),
        ("prompt: {d: {below: 0.5}}", "{d: {file: /x.json, sha256: '', input: t}}", "is not a file in the policy's folder"),
        ("prompt: {d: {below: 0.5}}", f"{{d: {{file: x.json, sha256: {SHA}}}}}", "'input' is missing"),
        (
            f"prompt: {{{', '.join(f'r{n}: {{below: 0.5}}' for n in range(5))}}}",
            f"{{{', '.join(f'r{n}: {ROUTER}' for n in range(5))}}}",
            "5 routers are too many",
        ),
    ],
)
def test_what_makes_none_is_refused(match: str, routers: str, said: str) -> None:
    """With its place, and what was meant."""
    with pytest.raises(PolicyError) as caught:
        load_policy(policy(match, routers), "p.yaml")
    assert said in str(caught.value)


def test_scores_decide_the_order_as_numbers_do() -> None:
    """A route whose scores an earlier one takes can never match."""
    text = policy("prompt: {difficulty: {at_least: 0.5}}").decode()
    text = text.replace(
        "      - {name: rest",
        "      - {name: harder, match: {prompt: {difficulty: {at_least: 0.7}}}, use: large}\n      - {name: rest",
    )
    with pytest.raises(PolicyError, match=r"route 'harder' can never match: 'hard' \(line 10\) matches whatever this one does"):
        load_policy(text.encode(), "p.yaml")


def test_a_limit_has_no_prompt() -> None:
    """Who may ask how much must not hang on what a client writes."""
    text = (
        policy("prompt: {difficulty: {at_least: 0.5}}")
        + b"limits: [{match: {prompt: {difficulty: {below: 1}}}, requests: 1/s}]\n"
    )
    with pytest.raises(PolicyError, match="has no place here: clients choose it"):
        load_policy(text, "p.yaml")
