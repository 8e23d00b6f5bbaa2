"""How a credential is turned away."""

from __future__ import annotations

from backends.errors import ErrorKind
from gateway.auth.refusals import KeyUnknown, refused


class Keys:
    def __init__(self, empty: bool) -> None:
        self.empty = empty

    async def learn(self) -> bool:
        return False


def test_a_refusal_is_the_clients() -> None:
    """A refused credential is a 401 with its own bounded reason."""
    refusal = refused("send a credential", "no-credential")
    expected = (ErrorKind.UNAUTHENTICATED, "client", "no-credential", "send a credential")
    assert expected == (refusal.kind, refusal.source, refusal.reason, str(refusal))


def test_an_unknown_key_is_a_401_unless_no_key_is_known_at_all() -> None:
    """Without any key nothing can be said about a token: that is our trouble, and worth another try."""
    assert ErrorKind.UNAUTHENTICATED is KeyUnknown(Keys(empty=False)).kind
    away = KeyUnknown(Keys(empty=True))
    assert (away.kind, away.source, away.retry_after) == (ErrorKind.UNAVAILABLE, "gateway", 10.0)
