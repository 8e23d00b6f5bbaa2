"""Words that may become a principal."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth.principals import is_our_scope, principal_of
from routing.principal import Principal


def test_sane_words_become_a_principal() -> None:
    """Subject, tenant, tier and scopes are taken as they are."""
    expected = Principal("auth0|a.b@x.org", "acme/eu", "free", frozenset({"models:infer:digits", "openid"}))
    assert expected == principal_of("auth0|a.b@x.org", "acme/eu", "free", ["models:infer:digits", "openid", "openid"])


def test_tenant_and_tier_may_be_empty() -> None:
    """Only the subject is needed."""
    assert Principal("a") == principal_of("a", "", "", [])


@pytest.mark.parametrize(
    "word", [None, 1, True, ["a"], "a b", "a\n", "a\r\nx: y", "ü", "a" * 257, 'a"', "a,b", "\ud800", "a\x00"]
)
def test_words_that_logs_and_labels_should_not_carry_are_refused(word: Any) -> None:
    """Spaces, line ends, quotes, foreign types and overlong text are refused in each place."""
    for subject, tenant, tier in ((word, "", ""), ("a", word, ""), ("a", "", word)):
        with pytest.raises(ValueError):
            principal_of(subject, tenant, tier, [])


@pytest.mark.parametrize("scope", ["", "a b", 'a"', "a\\b", "a\n", 7, None, ["x"], "ü", "s" * 257])
def test_scopes_are_single_printable_words(scope: Any) -> None:
    """RFC 6749's scope-token, bounded."""
    with pytest.raises(ValueError):
        principal_of("a", "", "", ["models:infer", scope])


def test_an_empty_subject_is_refused() -> None:
    """Nobody in particular cannot ask."""
    with pytest.raises(ValueError):
        principal_of("", "t", "", [])


@pytest.mark.parametrize(
    ("scope", "ours"),
    [
        ("models:infer", True),
        ("models:infer:digits", True),
        ("models:infer:team/digits-v2", True),
        ("models:admin", True),
        ("models:priority", True),
        ("models:priority:0", False),
        ("models:infer:", False),
        ("model:infer", False),
        ("models:admin:x", False),
        ("models:infer:a b", False),
        ("openid", False),
    ],
)
def test_the_scopes_acted_on(scope: str, ours: bool) -> None:
    """Three forms, and a spelling mistake is none of them."""
    assert ours == is_our_scope(scope)
