"""Makes a Principal of verified words, refusing text that logs, labels and quotas should never carry.

Scopes we act on:
    models:infer            ask any model
    models:infer:<model>    ask this model (the name in the policy document)
    models:priority         go before others by X-Priority, when a backend is full
    models:feedback         tell later what came of one's own requests (docs/experiment.md)
    models:admin            load and unload models, and the other things operators do
A token may carry scopes meant for others (`openid`); they are kept and mean nothing here. An API key is ours alone, so
there an unknown scope is a spelling mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from routing.principal import Principal

WORD = "1 to 256 letters, digits or . _ @ : | / + = ~ -"
_WORD = re.compile(r"[A-Za-z0-9._@:|/+=~-]{1,256}", re.ASCII)
_SCOPE = re.compile(r"[!#-\[\]-~]{1,256}")  # RFC 6749 section 3.3: printable, no space, quote or backslash
_OURS = re.compile(r"models:(infer(:[!#-\[\]-~]+)?|priority|feedback|admin)")


def principal_of(subject: object, tenant: object, tier: object, scopes: Iterable[object]) -> Principal:
    """The principal of these words; tenant and tier may be empty. Raises ValueError naming the word that does not do."""
    return Principal(
        subject=_word("subject", subject),
        tenant="" if tenant == "" else _word("tenant", tenant),
        tier="" if tier == "" else _word("tier", tier),
        scopes=frozenset(_scope(scope) for scope in scopes),
    )


def is_word(text: str) -> bool:
    """Whether the text may be a principal's subject, tenant or tier."""
    return _WORD.fullmatch(text) is not None


def is_our_scope(scope: str) -> bool:
    """Whether the scope is one this gateway acts on."""
    return _SCOPE.fullmatch(scope) is not None and _OURS.fullmatch(scope) is not None


def _word(name: str, word: object) -> str:
    if not (isinstance(word, str) and is_word(word)):
        raise ValueError(f"{name} must be {WORD}")
    return word


def _scope(scope: object) -> str:
    if not (isinstance(scope, str) and _SCOPE.fullmatch(scope)):
        raise ValueError("a scope must be 1 to 256 printable characters without spaces, quotes or backslashes")
    return scope
