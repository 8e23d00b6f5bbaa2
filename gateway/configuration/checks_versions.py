"""Judges what a model says of versions, and the conditions of its routes one by one: could a client's request ever have that?"""

from __future__ import annotations

import re

import msgspec

from gateway.configuration import schema_policy as policy
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 section 3.3


class Askable(msgspec.Struct, frozen=True):
    """Which versions a client's request could name: `named` by the model's version_policy, `pinned` by its variants."""

    named: frozenset[str]
    pinned: frozenset[str]

    def objection(self, version: str) -> str | None:
        """Why no client's request names this version; None if one may."""
        if self.named and version not in self.named:
            return f"no client may ask for version {shown(version)}: version_policy has {', '.join(sorted(self.named)[:8])}"
        if version not in self.pinned and not _NUMBER.fullmatch(version):  # backends count; a word is a policy's own
            return f"{shown(version)} is no version: versions are whole numbers from 1"
        return None


def check_versions(found: Findings, path: Path, model: policy.Model) -> Askable:
    """Notes in `found` variants that the model's version_policy keeps from clients, and versions that there cannot be."""
    named = model.version_policy.named
    askable = Askable(named, frozenset(variant.version for variant in model.variants.values()))
    if (*path, "variants") not in found.spoiled:
        for objection in filter(None, map(askable.objection, sorted(named))):
            found.wrong((*path, "version_policy"), objection)
    for name, variant in model.variants.items():
        if named and variant.version and variant.version not in named:
            found.wrong((*path, "variants", name, "version"), f"{askable.objection(variant.version)}")
    return askable


def check_match(found: Findings, path: Path, match: policy.Match, askable: Askable) -> None:
    """Notes in `found` conditions that could never hold, or say nothing, in the matches inside this one too."""
    for objection in filter(None, map(askable.objection, match.version)):
        found.wrong((*path, "version"), objection)
    for scope in match.scope:
        if not _SCOPE.fullmatch(scope):
            found.wrong((*path, "scope"), f"{shown(scope)} is not a scope: scopes have no spaces; several are a list")
    for key, parts in (("all", match.all), ("any", match.any)):
        for index, part in enumerate(parts):
            if part == policy.Match():
                found.wrong((*path, key, index), "has no conditions, so it holds for every request; leave it out")
            check_match(found, (*path, key, index), part, askable)
    if match.never is not None:
        check_match(found, (*path, "not"), match.never, askable)
