"""Makes routing's values of a checked document's prompt routers, and reads the files that these name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from weakref import WeakValueDictionary

from gateway.configuration.files import read_file
from gateway.configuration.problems import PolicyError, Problem, path_text
from gateway.configuration.schema_policy import Model, PolicyDocument
from gateway.configuration.schema_prompts import Router, Scored
from gateway.configuration.yaml_source import parse
from routing.match import Range
from routing.prompt.file import MAX_BYTES, read_router, scorer
from routing.prompt.scorer import UNIT, PromptRouter, Scorer

# By SHA-256, what some policy in force holds: a reload reads no file twice, and a worker forked later needs none at all.
_held: WeakValueDictionary[str, Scorer] = WeakValueDictionary()


def routers_of(model: Model) -> tuple[PromptRouter, ...]:
    """The model's routers by name, not ready to score: their files are read by who will."""
    return tuple(PromptRouter(name, each.input, each.sha256) for name, each in sorted(model.routers.items()))


def prompts_of(wanted: Mapping[str, Scored]) -> tuple[tuple[str, Range], ...]:
    """The scores a match wants, in whole millionths, both ends included, by the routers' names."""
    return tuple((name, _millionths(each)) for name, each in sorted(wanted.items()))


def _millionths(scored: Scored) -> Range:
    low, high = scored.at_least or 0.0, scored.below
    return Range(round(low * UNIT), None if high is None else round(high * UNIT) - 1)


def scorers(document: PolicyDocument, folder: Path, text: bytes, name: str) -> dict[str, Scorer]:
    """Every router of the document, ready, by its file's SHA-256; `text`, `name` and `folder` are the policy file's.

    Raises PolicyError for files that are not there, are not what the policy means, or are none, at the lines that name them.
    """
    found, problems = dict[str, Scorer](), list[tuple[tuple[str | int, ...], str]]()
    for path, router in _routers(document):
        if router.sha256 in found:
            continue
        try:
            held = _held.get(router.sha256)
            found[router.sha256] = _held[router.sha256] = held or _read(folder / router.file, router)
        except (ValueError, OSError) as error:
            why = f"{error.filename or router.file}: {error.strerror}" if isinstance(error, OSError) else f"{router.file} {error}"
            problems.append(((*path, "file"), why))
    if problems:
        source = parse(text, name)
        raise PolicyError(name, [Problem(path_text(path), source.mark(path).line, why) for path, why in problems])
    return found


def _routers(document: PolicyDocument) -> Iterator[tuple[tuple[str, ...], Router]]:
    for model_name, model in document.models.items():
        for name, router in model.routers.items():
            yield ("models", model_name, "routers", name), router


def _read(path: Path, router: Router) -> Scorer:
    content = read_file(path, MAX_BYTES)
    if hashlib.sha256(content).hexdigest() != router.sha256:
        raise ValueError("has another content than the policy's sha256 says: a new router has a new name and a new line here")
    return scorer(read_router(content))
