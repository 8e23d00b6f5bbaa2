"""The page about limits shows every one there is, with its default as the configuration reads it."""

from __future__ import annotations

import pytest
import yaml
from msgspec import structs

from gateway.configuration.load import load_gateway
from gateway.configuration.schema_gateway import GatewayDocument, Limits
from tests.docs.pages import DOCS, table, words

LIMITS = DOCS / "limits.md"
SHOWN = [*table(LIMITS, "## Sizes and counts"), *table(LIMITS, "## Times")]


def test_every_limit_is_shown() -> None:
    """Each key once, and no other."""
    assert sorted(Limits.__struct_fields__) == sorted(words(key)[0] for key, *_ in SHOWN)


@pytest.mark.parametrize(("key", "default"), [(words(key)[0], words(default)[0]) for key, default, *_ in SHOWN])
def test_defaults_are_true(key: str, default: str) -> None:
    """Written into the document, the shown default changes nothing."""
    document = load_gateway(yaml.safe_dump({"limits": {key: yaml.safe_load(default)}}).encode(), "gateway.yaml")
    assert structs.asdict(GatewayDocument().limits) == structs.asdict(document.limits)
