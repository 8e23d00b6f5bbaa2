"""Everything there is to say about a policy file before it is used: what is wrong with it, and what is only unwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.configuration.integrity import Ends, ends, sealed
from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError, Problem
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.tables import route_tables
from gateway.configuration.tables_prompts import scorers
from gateway.review.narrow import narrow
from gateway.review.touchy import touchy
from gateway.review.trial import refuse_failures

_OPEN = "the file does not begin with --- and end with ...: a copy of it that is cut off could be taken for the whole"


@dataclass(frozen=True, slots=True)
class Report:
    """The document can be used if there is one and no problems. `notes` are no mistakes."""

    document: PolicyDocument | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


def report(text: bytes, name: str) -> Report:
    """What is to be said about the policy in `text`, its own tests and the files that it names included; `name` is the file's."""
    broken: tuple[Problem, ...] = ()
    try:
        found = ends(text, name)
    except PolicyError as error:
        try:
            whole = sealed(text, name)
        except PolicyError:
            return Report(None, error.problems)
        # Only the seal does not fit: while the policy is being edited, that must not hide the other mistakes.
        found, broken, text = Ends.SEALED, error.problems, whole
    notes = (_OPEN,) if found is Ends.OPEN else ()
    try:
        document = load_policy(text, name)
        refuse_failures(document, route_tables(document), text, name)
        scorers(document, Path(name).parent, text, name)
    except PolicyError as error:
        return Report(None, PolicyError(name, [*broken, *error.problems]).problems, notes)
    return Report(document, broken, (*notes, *narrow(document), *touchy(document)))
