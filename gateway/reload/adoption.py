"""Decides whether a policy that could be used may also take the place of the one in force, by comparing the two. Pure.

What is refused here looks like an accident: half a file, or a protection that is gone and nobody said so. Each refusal names
the words with which the policy's author says that it was meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.configuration.integrity import Ends, ends
from gateway.configuration.problems import Problem
from gateway.configuration.schema_policy import PARTS, PolicyDocument


@dataclass(frozen=True, slots=True)
class Standing:
    """A policy that was loaded: the bytes of its file, and the document they make."""

    text: bytes
    document: PolicyDocument


def objections(before: Standing | None, after: Standing) -> tuple[Problem, ...]:
    """Why `after` must not replace `before`, the policy in force; nothing if it may. Without one in force anything may."""
    return () if before is None else tuple(_objections(before, after))


def _objections(before: Standing, after: Standing) -> Iterator[Problem]:
    last = after.text.rstrip().count(b"\n") + 1
    was, now = ends(before.text, ""), ends(after.text, "")
    tests, kept = before.document.tests, after.document.tests
    if now is Ends.OPEN and before.text.startswith(after.text) and before.document != after.document:
        share = f"its {len(after.text)} bytes are the first of the {len(before.text)} in force"
        yield Problem("", last, f"cut off: {share}; if that was meant, put --- before it and a line ... at its end")
    elif now is Ends.OPEN and was is not Ends.OPEN:
        yield Problem("", last, "the policy in force ends with a line ..., this one does not: it may be half a file", "...")
    elif now is Ends.OPEN and _in_a_line(after.text) and after.text != before.text:
        meant = "end its last line, or put --- before the document and a line ... at its end"
        yield Problem("", last, f"the file ends in the middle of a line, so it may be cut off: {meant}")
    elif now is Ends.OPEN and 0 < len(kept) < len(tests) and kept == tests[: len(kept)]:
        meant = "if that was meant, put --- before the document and a line ... at its end"
        share = f"its tests are the first {len(kept)} of the {len(tests)} in force"
        yield Problem("tests", last, f"{share}, so it may be cut off: {meant}")
    if was is Ends.SEALED and now is Ends.CLOSED:
        meant = "seal it with `penstock policy seal`, or say by its --remove that no seal is wanted"
        yield Problem("", last, f"the policy in force is sealed, this one is not; {meant}")
    for part in PARTS:
        if getattr(before.document, part, ()) and not getattr(after.document, part, ()) and part not in after.document.without:
            meant = f"if that was meant, write without: [{part}]"
            yield Problem(part, 1, f"the policy in force has {part}, this one has none; {meant}")


def _in_a_line(text: bytes) -> bool:
    """Whether it ends there as a document may that is cut off. One in braces, as JSON is, would not have parsed."""
    return not text.endswith(b"\n") and not text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
