"""Lets a principal ask only the models its scopes name.

Scopes: `models:infer` (every model), `models:infer:<model>` (that one), `models:admin` (the repository, not inference).
"""

from __future__ import annotations

from collections.abc import Awaitable

from backends.errors import ErrorKind, InferenceError
from policies.call import Answer, Ask, Call
from routing.principal import INFER, Principal


def permitted(principal: Principal, model: str) -> bool:
    """Whether the principal may ask this public model anything, its metadata included."""
    return INFER in principal.scopes or f"{INFER}:{model}" in principal.scopes


def demand(principal: Principal, model: str) -> None:
    """Raises FORBIDDEN unless permitted."""
    if not permitted(principal, model):
        raise InferenceError(
            ErrorKind.FORBIDDEN,
            f"this credential may not use model '{model}'; it needs scope '{INFER}' or '{INFER}:{model}'",
            source="client",
        )


class AuthorizePolicy:
    """Stands before everything that could answer."""

    def __call__(self, call: Call, ask: Ask) -> Awaitable[Answer]:
        """The answer from below, for those permitted. Raises FORBIDDEN at once, before anything could be awaited."""
        demand(call.principal, call.model)
        return ask(call)
