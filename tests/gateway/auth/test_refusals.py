"""How a credential is turned away."""

from __future__ import annotations

import pytest

from backends.errors import ErrorKind
from gateway.auth.refusals import KeyUnknown, key_unknown, refused


class Keys:
    def __init__(self, empty: bool, may_learn: bool = True) -> None:
        self.empty = empty
        self._may_learn = may_learn

    def may_learn(self) -> bool:
        return self._may_learn

    def begin(self) -> bool:
        return False

    async def learn(self) -> bool:
        return False


def test_a_refusal_is_the_clients() -> None:
    """A refused credential is a 401 with its own bounded reason."""
    refusal = refused("send a credential", "no-credential")
    expected = (ErrorKind.UNAUTHENTICATED, "client", "no-credential", "send a credential")
    assert expected == (refusal.kind, refusal.source, refusal.reason, str(refusal))


@pytest.mark.parametrize("may_learn", [True, False])
def test_an_unknown_key_is_a_401_unless_no_key_is_known_at_all(may_learn: bool) -> None:
    """Without any key nothing can be said about a token: that is our trouble, and worth another try."""
    assert ErrorKind.UNAUTHENTICATED is key_unknown(Keys(False, may_learn)).kind
    away = key_unknown(Keys(True, may_learn))
    assert (ErrorKind.UNAVAILABLE, "gateway", 10.0) == (away.kind, away.source, away.retry_after)


@pytest.mark.parametrize("empty", [True, False])
def test_nobody_waits_when_it_is_too_early_to_ask(empty: bool) -> None:
    """The refusal invites to wait for the issuer's keys only while they may be asked for; its words are the same."""
    invites, final = key_unknown(Keys(empty)), key_unknown(Keys(empty, may_learn=False))
    assert isinstance(invites, KeyUnknown)
    assert not isinstance(final, KeyUnknown)
    assert (invites.kind, invites.reason, str(invites)) == (final.kind, final.reason, str(final))
