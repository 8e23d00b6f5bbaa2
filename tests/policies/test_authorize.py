"""Who may ask which model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.errors import ErrorKind, InferenceError
from policies.authorize import AuthorizePolicy, permitted
from policies.call import Answer, Call
from routing.principal import Principal


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ({"models:infer"}, True),
        ({"models:infer:digits"}, True),
        ({"models:infer:other"}, False),
        ({"models:admin"}, False),
        ({"models:infer:*"}, False),
        (set(), False),
    ],
)
def test_scopes(scopes: set[str], expected: bool) -> None:
    """A model may be asked with the general scope or its own, and with nothing else."""
    assert expected is permitted(Principal("ann", scopes=frozenset(scopes)), "digits")


async def test_a_stranger_reaches_nothing(make_call: Callable[..., Call]) -> None:
    """Without the scope the layers below are never asked."""

    async def ask(call: Call) -> Answer:
        raise AssertionError("reached")

    with pytest.raises(InferenceError) as caught:
        await AuthorizePolicy()(make_call(scopes=frozenset()), ask)
    assert caught.value.kind is ErrorKind.FORBIDDEN
