"""Who is an operator: with real keys in a real file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.admin.operators import Clearance, judge, shown
from gateway.auth.api_keys import ApiKeys, entry_of, new_key
from gateway.auth.authenticator import Authenticator
from gateway.auth.principals import principal_of
from gateway.cli.keys import as_yaml

NOW = 1_800_000_000.0
ADMIN, CLIENT = new_key(), new_key()


@pytest.fixture(params=[False, True], ids=["", "anonymous"])
def authenticator(request: pytest.FixtureRequest, tmp_path: Path) -> Authenticator:
    """Two keys, one of an operator; with and without welcoming everybody to the models."""
    scopes = {ADMIN: "models:admin", CLIENT: "models:infer"}
    entries = [as_yaml(entry_of(key, principal_of(f"who-{scope[7:]}", "", "", [scope]))) for key, scope in scopes.items()]
    (tmp_path / "keys.yaml").write_text("".join(entries))
    return Authenticator(ApiKeys(tmp_path / "keys.yaml"), anonymous=request.param)


async def test_an_operator_is_known_by_name(authenticator: Authenticator) -> None:
    """The audit log has it."""
    assert Clearance(200, "who-admin") == await judge(authenticator, {"x-api-key": ADMIN}, NOW)


@pytest.mark.parametrize(
    ("credentials", "status", "error"),
    [
        ({}, 401, "send a credential"),
        ({"x-api-key": CLIENT}, 403, "has not the scope models:admin"),
        ({"x-api-key": new_key()}, 401, "not valid"),
        ({"authorization": "Bearer x.y.z"}, 401, "Bearer <JWT> of a trusted issuer"),
        ({"authorization": f"Bearer {ADMIN}"}, 401, "Bearer <JWT> of a trusted issuer"),
        ({"x-api-key": ADMIN, "authorization": "Bearer x.y.z"}, 400, "send one credential"),
    ],
)
async def test_nobody_else_is(authenticator: Authenticator, credentials: dict[str, str], status: int, error: str) -> None:
    """None, another's, a made-up one, the wrong kind, two at once; the answer says what to do and repeats nothing."""
    clearance = await judge(authenticator, credentials, NOW)
    assert (status, "", True) == (clearance.status, clearance.subject, error in clearance.error)
    assert not any(value in clearance.error for value in credentials.values())


async def test_guesses_are_throttled(authenticator: Authenticator) -> None:
    """Too many are 429; the operator's own key goes on opening the door."""
    seen = {(await judge(authenticator, {"x-api-key": new_key()}, NOW)).status for _ in range(100)}
    assert {401, 429} == seen
    assert 200 == (await judge(authenticator, {"x-api-key": ADMIN}, NOW)).status


def test_a_credential_counts_once() -> None:
    """Two of a kind are no credential: two readers could believe different ones."""
    assert {"x-api-key": "a"} == shown({"host": ["x"], "x-api-key": ["a"]})
    assert {} == shown({"host": ["x"]})
    assert shown({"x-api-key": ["a", "a"]}) is None
