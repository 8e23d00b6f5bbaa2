"""Damaged copies of a policy: whatever byte it ends at and whatever bit is wrong in it, it is never adopted as another policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.compile import drawn
from gateway.configuration.integrity import sealed, unsealed
from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from gateway.reload.adoption import Standing, objections

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "config"
POLICIES = [CONFIG / "policy.yaml", CONFIG / "examples" / "cascade.yaml", CONFIG / "examples" / "canary.yaml"]
each_policy = pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)


def adopted(copies: Iterable[bytes], original: bytes, *, starting: bool = False) -> tuple[int, list[bytes], int]:
    """How many copies there are, those that take the place of the original, and how many of them mean something else.

    `starting`: no original is in force, the gateway starts with the copy; then more might be taken, never less.
    """
    before = Standing(original, load_policy(original, "policy.yaml"))
    meant = replace(drawn(before.document, original, "policy.yaml"), version="")
    count, taken, wrong = 0, [], 0
    for copy in copies:
        count += 1
        try:
            after = Standing(copy, load_policy(copy, "policy.yaml"))
            if objections(None if starting else before, after):
                continue
            means = replace(drawn(after.document, copy, "policy.yaml"), version="")
        except PolicyError:
            continue
        taken.append(copy)
        wrong += means != meant or after.document != before.document
    return count, taken, wrong


def flipped(text: bytes) -> Iterator[bytes]:
    """Every copy with one bit changed."""
    for index, byte in enumerate(text):
        for bit in range(8):
            yield text[:index] + bytes((byte ^ 1 << bit,)) + text[index + 1 :]


def truncated(text: bytes) -> Iterator[bytes]:
    """Every beginning of it that is not all of it."""
    return (text[:end] for end in range(len(text)))


@each_policy
def test_every_truncation_of_a_sealed_policy(path: Path) -> None:
    """Without its last byte, which is only a line break, it is the same policy; cut off anywhere else it is refused."""
    text = sealed(path.read_bytes(), path.name)
    assert (len(text), [text[:-1]], 0) == adopted(truncated(text), text)


@each_policy
def test_every_flipped_bit_of_a_sealed_policy(path: Path) -> None:
    """Whichever bit is wrong, the copy is refused, by a gateway that starts with it as well."""
    text = sealed(path.read_bytes(), path.name)
    assert (8 * len(text), [], 0) == adopted(flipped(text), text, starting=True)


@each_policy
def test_every_stage_of_writing_over_a_sealed_policy(path: Path) -> None:
    """An editor that writes over the file in place leaves a mixture of old and new for a while: none is adopted."""
    old = sealed(path.read_bytes(), path.name)
    new = sealed(path.read_bytes().replace(b"cost: 1", b"cost: 25").replace(b"8000", b"9000"), path.name)
    ends = range(len(new) - 1)  # the last byte is a line break, which may be missing
    stages = {new[:end] + old[end:] for end in ends} | {
        new[:end] + bytes(len(new) - end) for end in ends
    }  # where room was made first, zeros
    assert [] == adopted(stages - {old}, old, starting=True)[1]


@each_policy
def test_every_truncation_of_a_policy_without_a_seal(path: Path) -> None:
    """Between --- and ... it needs no seal to be known as cut off, by a gateway that starts with it as well."""
    text = path.read_bytes()
    assert b"\n...\n" == text[-5:]
    assert (len(text), [text[:-1]], 0) == adopted(truncated(text), text, starting=True)


@each_policy
def test_every_truncation_of_a_policy_that_is_unsealed(path: Path) -> None:
    """What says that it does without a seal is refused in the same way; cut off behind the dots it is whole."""
    text = unsealed(path.read_bytes(), path.name)
    whole = text.removesuffix(b" # unsealed\n")
    assert (len(text), [whole, text[:-1]], 0) == adopted(truncated(text), text)


@each_policy
def test_every_truncation_of_a_policy_without_ends(path: Path) -> None:
    """Even then a copy of the policy in force that is cut off does not take its place, though a start could not tell."""
    text = path.read_bytes().replace(b"---\n", b"", 1).removesuffix(b"...\n")
    count, _, wrong = adopted(truncated(text), text)
    assert (len(text), 0) == (count, wrong)
