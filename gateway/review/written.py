"""Reads a request as people write it, in a file or in words of a command line; what is wrong is told as of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.configuration.decode import Findings, decode
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_tests import Sample
from gateway.configuration.yaml_source import Source, Value, parse

Words = Mapping[tuple[str, ...], Value]  # where in a request, and what shall stand there


def read_sample(text: bytes | None, name: str, words: Words) -> Sample:
    """The request in `text` (JSON or YAML; None for none) with `words` put over it. Raises PolicyError and nothing else."""
    source = Source(name, {}, {}) if text is None else parse(text, name)
    value = source.value if source.value is not None else {}
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if each != {}}  # as programs say that there is nothing
        for path, word in words.items():
            value = _put(value, path, word)
    found = Findings(replace(source, value=value))
    sample = decode(found, Sample)
    if sample is None or found.problems:
        raise PolicyError(name, found.problems)
    return sample


def _put(value: dict[str, Value], path: tuple[str, ...], word: Value) -> dict[str, Value]:
    first, *rest = path
    if not rest:
        return {**value, first: word}
    inner = value.get(first)
    return {**value, first: _put(inner if isinstance(inner, dict) else {}, tuple(rest), word)}
