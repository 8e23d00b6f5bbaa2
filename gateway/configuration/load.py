"""The two configuration files, from bytes to checked frozen values, or refused with everything that is wrong with them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from gateway.configuration.checks import check_policy
from gateway.configuration.checks_gateway import check_gateway
from gateway.configuration.decode import Findings, decode
from gateway.configuration.integrity import ends
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.configuration.schema_policy import PolicyDocument
from gateway.configuration.yaml_source import MAX_BYTES, survey


def version(text: bytes) -> str:
    """The name of a policy's snapshot: 12 hexadecimal digits that depend on the file's content alone."""
    return hashlib.sha256(text).hexdigest()[:12]


def load_policy(text: bytes, name: str) -> PolicyDocument:
    """The policy in `text`; `name` is the file's, for messages. Raises PolicyError and nothing else."""
    if len(text) <= MAX_BYTES:  # else it may have been read in part only, and is refused for its size
        ends(text, name)
    found = Findings(survey(text, name))
    document = decode(found, PolicyDocument)
    if document is not None:
        check_policy(found, document)
    if document is None or found.problems:
        raise PolicyError(name, found.problems)
    return document


def load_gateway(text: bytes, name: str) -> GatewayDocument:
    """The process's configuration in `text`; an empty file is all defaults. Raises PolicyError and nothing else."""
    source = survey(text, name)
    found = Findings(source if source.value is not None else replace(source, value={}))
    document = decode(found, GatewayDocument)
    if document is not None:
        check_gateway(found, document)
    if document is None or found.problems:
        raise PolicyError(name, found.problems)
    return document
