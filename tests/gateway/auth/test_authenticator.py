"""From a request's headers to who is asking."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from gateway.auth.api_keys import ApiKeys, entry_hash, new_key
from gateway.auth.authenticator import Authenticator, Remembered, build
from gateway.auth.fetching import Fetched, Handed
from gateway.auth.jwk import VerifyKey
from gateway.auth.jwt import LEEWAY, TokenVerifier, TrustedIssuer
from gateway.auth.settings import ALGORITHMS, AuthSettings, Claims, JwtIssuer, KeySourceError
from routing.principal import ANONYMOUS, Principal
from tests.gateway.auth.conftest import Issuer

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer, Spawner

NOW = 1_800_000_000.0
KEY = new_key()
ALICE = Principal("alice")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Knows KEY, until a second after NOW + 100."""
    path = tmp_path / "keys.yaml"
    entry = {"id": KEY.split("_")[1], "hash": entry_hash(KEY), "subject": "alice", "scopes": []}
    path.write_text(json.dumps([{**entry, "expires": "2027-01-15T08:01:40Z"}]))
    return path


@pytest.fixture
def settings_of(jwks_file: Path, key_file: Path) -> AuthSettings:
    """One issuer with keys in a file, and one API key."""
    return AuthSettings(jwt=(JwtIssuer("https://id.test", "penstock", str(jwks_file)),), api_keys=key_file)


class CountingKeys:
    """Keys of an issuer that count how often they are looked for."""

    empty = False

    def __init__(self, key: VerifyKey) -> None:
        self.key = key
        self.asked = 0

    def find(self, algorithm: str, kid: str | None) -> VerifyKey | None:
        self.asked += 1
        return self.key

    def may_learn(self) -> bool:
        return True

    def begin(self) -> bool:
        return False

    async def learn(self) -> bool:
        return False


def accepting(size: int = 10) -> tuple[Authenticator, CountingKeys, Remembered]:
    """An authenticator whose issuer accepts every signature."""

    def accept(signature: bytes, signed: bytes) -> None:
        return None

    keys, held = CountingKeys(VerifyKey("EdDSA", "", (), accept)), Remembered(size)
    verifier = TokenVerifier({"https://id.test": TrustedIssuer("penstock", ALGORITHMS, keys)}, Claims())
    return Authenticator(tokens=verifier, remembered=held), keys, held


def refusal(authenticator: Authenticator, headers: dict[str, str], now: float = NOW, peer: str = "") -> tuple[ErrorKind, str]:
    """Kind and reason of the error these headers get."""
    with pytest.raises(InferenceError) as caught:
        authenticator.check(headers, now, peer)
    return caught.value.kind, caught.value.reason


async def test_both_kinds_of_credential_are_accepted(settings_of: AuthSettings, spawn: Spawner, signer: Signer) -> None:
    """A token of every algorithm and an API key, the scheme in any case, the first time and again."""
    authenticator = await build(settings_of, spawn, environ={})
    for _ in range(2):
        for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
            assert authenticator.check({"authorization": f"{scheme} {signer.token()}"}, NOW) == ALICE
        assert authenticator.check({"x-api-key": KEY}, NOW) == ALICE


async def test_exactly_one_credential(settings_of: AuthSettings, spawn: Spawner, ed_signer: Signer) -> None:
    """Two are a 400 even when both hold; none is a 401."""
    authenticator = await build(settings_of, spawn, environ={})
    two = {"authorization": f"Bearer {ed_signer.token()}", "x-api-key": KEY}
    assert refusal(authenticator, two) == (ErrorKind.INVALID, "two-credentials")
    assert refusal(authenticator, {"authorization": "", "x-api-key": ""}) == (ErrorKind.INVALID, "two-credentials")
    assert refusal(authenticator, {}) == (ErrorKind.UNAUTHENTICATED, "no-credential")


def test_anonymous_callers_bring_no_credential() -> None:
    """Where they are welcome, a credential that does not hold is still a 401."""
    authenticator = Authenticator(anonymous=True)
    assert ANONYMOUS is authenticator.check({"host": "x"}, NOW)
    for headers in ({"authorization": ""}, {"x-api-key": ""}, {"authorization": "Bearer x"}, {"x-api-key": KEY}):
        assert ErrorKind.UNAUTHENTICATED is refusal(authenticator, headers)[0]


async def test_each_header_takes_its_own_kind(settings_of: AuthSettings, spawn: Spawner, ed_signer: Signer) -> None:
    """A token is no API key and an API key no token, also when the other header already knows it."""
    authenticator = await build(settings_of, spawn, environ={})
    bearer = f"Bearer {ed_signer.token()}"
    authenticator.check({"authorization": bearer}, NOW)
    authenticator.check({"x-api-key": KEY}, NOW)
    for headers in (
        {"x-api-key": bearer},
        {"x-api-key": ed_signer.token()},
        {"authorization": KEY},
        {"authorization": f"Bearer {KEY}"},
    ):
        assert ErrorKind.UNAUTHENTICATED is refusal(authenticator, headers)[0]


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "", "BearerX", "Bearer\t", "Bearer,"])
def test_other_schemes_are_refused(scheme: str, ed_signer: Signer) -> None:
    """Only Bearer is spoken."""
    authenticator, _, _ = accepting()
    assert refusal(authenticator, {"authorization": f"{scheme} {ed_signer.token()}"}) == (ErrorKind.UNAUTHENTICATED, "bad-token")


def test_a_token_is_verified_once_until_it_ends(ed_signer: Signer) -> None:
    """The second time costs no key; half a minute after its exp it is refused, to the second."""
    authenticator, keys, held = accepting()
    headers = {"authorization": f"Bearer {ed_signer.token({'exp': int(NOW) + 5 - LEEWAY})}"}
    assert ALICE == authenticator.check(headers, NOW) == authenticator.check(headers, NOW + 4.9)
    assert keys.asked == 1
    assert refusal(authenticator, headers, NOW + 5) == (ErrorKind.UNAUTHENTICATED, "expired-token")
    assert (keys.asked, len(held)) == (1, 0)


async def test_a_remembered_api_key_ends_too(settings_of: AuthSettings, spawn: Spawner) -> None:
    """What was verified before its end is refused after it."""
    authenticator = await build(settings_of, spawn, environ={})
    assert authenticator.check({"x-api-key": KEY}, NOW + 99) == ALICE
    assert refusal(authenticator, {"x-api-key": KEY}, NOW + 100) == (ErrorKind.UNAUTHENTICATED, "expired-api-key")


async def test_a_credential_stands_until_it_ends_or_its_keys_are_had_again(
    settings_of: AuthSettings, spawn: Spawner, ed_signer: Signer
) -> None:
    """So that whoever has seen its headers need not look at them again; one that was not checked does not stand."""
    authenticator = await build(settings_of, spawn, environ={})
    token = {"authorization": f"Bearer {ed_signer.token({'exp': int(NOW) + 200 - LEEWAY})}"}
    for headers, ends in (({"x-api-key": KEY}, NOW + 100), (token, NOW + 200)):
        assert authenticator.standing(headers, ALICE) is None
        principal = authenticator.check(headers, NOW)
        assert authenticator.standing(headers, msgspec.structs.replace(principal)) is None
        standing = authenticator.standing(headers, principal)
        assert standing is not None
        assert [True, True, False] == [standing.holds(at) for at in (NOW, ends - 1, ends)]
    key = {"x-api-key": KEY}
    standing = authenticator.standing(key, authenticator.check(key, NOW))
    assert standing is not None
    await authenticator.reload()
    assert not standing.holds(NOW)


async def test_whoever_shows_nothing_stands_for_ever(settings_of: AuthSettings, spawn: Spawner) -> None:
    """Where that is allowed; keys that are had again change nothing of it."""
    authenticator = await build(dataclasses.replace(settings_of, anonymous=True), spawn, environ={})
    anyone = authenticator.standing({}, ANONYMOUS)
    await authenticator.reload()
    assert anyone is not None
    assert anyone.holds(NOW * 2)


def test_what_is_remembered_is_bounded(ed_signer: Signer) -> None:
    """The longest unused token is forgotten first, and refused ones are never remembered."""
    authenticator, keys, held = accepting(size=3)
    headers = [{"authorization": f"Bearer {ed_signer.token({'sub': f's{number}'})}"} for number in range(4)]
    for number in (0, 1, 2, 0, 3):
        authenticator.check(headers[number], NOW)
    assert (keys.asked, len(held)) == (4, 3)
    authenticator.check(headers[0], NOW)
    assert keys.asked == 4
    authenticator.check(headers[1], NOW)
    assert keys.asked == 5
    refusal(authenticator, {"authorization": "Bearer nonsense"})
    assert len(held) == 3


def write(path: Path, text: str) -> None:
    """What an operator does to a file while the gateway runs."""
    path.write_text(text)


def held(authenticator: Authenticator, headers: dict[str, str]) -> bool:
    """Whether the credential is good now."""
    try:
        return authenticator.check(headers, NOW) == ALICE
    except InferenceError:
        return False


async def test_a_broken_key_file_does_not_hold_up_issuers(
    settings_of: AuthSettings, spawn: Spawner, ed_signer: Signer, rsa_signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    """A withdrawn issuer's key stops at once, remembered or not; the old API keys stay and the log says why."""
    authenticator = await build(settings_of, spawn, environ={})
    old, new = ({"authorization": f"Bearer {each.token()}"} for each in (ed_signer, rsa_signer))
    assert held(authenticator, old)
    assert held(authenticator, {"x-api-key": KEY})
    write(Path(str(settings_of.api_keys)), "- nonsense")
    write(Path(settings_of.jwt[0].jwks), json.dumps({"keys": [rsa_signer.jwk()]}))
    await authenticator.reload()
    assert refusal(authenticator, old) == (ErrorKind.UNAUTHENTICATED, "unknown-key")
    assert held(authenticator, new)
    assert held(authenticator, {"x-api-key": KEY})
    assert f"API keys not taken, the old ones stay: {settings_of.api_keys}:1: [0]: must be a mapping" in caplog.text


async def test_a_broken_key_set_does_not_hold_up_api_keys(
    settings_of: AuthSettings, spawn: Spawner, ed_signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    """A deleted API key stops at once, remembered or not; the issuer's old keys stay and the log says why."""
    authenticator = await build(settings_of, spawn, environ={})
    token = {"authorization": f"Bearer {ed_signer.token()}"}
    assert held(authenticator, {"x-api-key": KEY})
    write(Path(str(settings_of.api_keys)), "[]")
    write(Path(settings_of.jwt[0].jwks), "{}")
    await authenticator.reload()
    assert refusal(authenticator, {"x-api-key": KEY}) == (ErrorKind.UNAUTHENTICATED, "bad-api-key")
    assert held(authenticator, token)
    assert f"keeping those known: {settings_of.jwt[0].jwks}: not a JWK Set" in caplog.text


async def test_a_reload_asks_issuers_and_waits_for_none_of_them(
    key_file: Path, spawn: Spawner, ed_signer: Signer, rsa_signer: Signer, jwks_of: Callable[..., bytes]
) -> None:
    """A key withdrawn at a URL stops with the reload; an issuer that hangs delays neither another one nor the API keys."""
    first, second = Issuer(jwks_of(ed_signer.jwk())), Issuer(jwks_of(ed_signer.jwk()))
    urls = [await first.start(), await second.start()]
    issuers = tuple(JwtIssuer(f"https://{number}.test", "penstock", url) for number, url in enumerate(urls))
    authenticator = await build(AuthSettings(jwt=issuers, api_keys=key_file), spawn, environ={})
    tokens = [{"authorization": f"Bearer {ed_signer.token({'iss': each.issuer})}"} for each in issuers]
    assert [ALICE, ALICE] == [await authenticator.authenticate(token, NOW) for token in tokens]
    second.document = jwks_of(rsa_signer.jwk())
    write(key_file, "[]")
    first.release.clear()
    reloading = asyncio.ensure_future(authenticator.reload())
    async with asyncio.timeout(3):
        while held(authenticator, tokens[1]) or held(authenticator, {"x-api-key": KEY}):  # noqa: ASYNC110 - seen from outside only
            await asyncio.sleep(0.001)
    assert (False, True) == (reloading.done(), held(authenticator, tokens[0]))
    first.release.set()
    await reloading
    for issuer in (first, second):
        await issuer.runner.cleanup()


async def test_files_that_cannot_be_used_stop_the_start(settings_of: AuthSettings, spawn: Spawner, tmp_path: Path) -> None:
    """A missing key set, API key file or an unusable pepper is an error that names it, before anything runs."""
    missing = str(tmp_path / "none")
    for broken, environ in (
        (AuthSettings(jwt=(JwtIssuer("iss", "aud", missing),)), {}),
        (AuthSettings(api_keys=Path(missing)), {}),
        (settings_of, {"PENSTOCK_API_KEY_PEPPER": "short"}),
    ):
        with pytest.raises(KeySourceError, match=r"none|pepper"):
            await build(broken, spawn, environ=environ)
    assert spawn.tasks == []


async def test_a_key_set_file_that_is_gone_stops_no_successor(
    spawn: Spawner, tmp_path: Path, jwks_of: Callable[..., bytes], ed_signer: Signer
) -> None:
    """It begins with what its predecessor had."""
    gone = JwtIssuer("https://id.test", "penstock", str(tmp_path / "gone.json"))
    known = Fetched(gone.issuer, gone.jwks, jwks_of(ed_signer.jwk()), time.monotonic())
    authenticator = await build(AuthSettings(jwt=(gone,)), spawn, environ={}, handed=Handed({gone.issuer: known}))
    assert "alice" == authenticator.check({"authorization": f"Bearer {ed_signer.token()}"}, NOW).subject


async def test_only_an_unknown_key_is_worth_waiting_for(settings_of: AuthSettings, spawn: Spawner) -> None:
    """The slow path answers what the fast one would, and raises its refusals."""
    authenticator = await build(settings_of, spawn, environ={})
    assert await authenticator.authenticate({"x-api-key": KEY}, NOW) == ALICE
    with pytest.raises(InferenceError) as caught:
        await authenticator.authenticate({"authorization": "Bearer x"}, NOW)
    assert caught.value.reason == "bad-token"


async def test_good_credentials_never_suffer_from_failed_ones(
    settings_of: AuthSettings, spawn: Spawner, ed_signer: Signer, rsa_signer: Signer
) -> None:
    """Guesses become 429s; at the same address the guessed key and a token hold, first seen or not."""
    authenticator = await build(settings_of, spawn, environ={})
    forged = ed_signer.token(header={"alg": "RS256", "kid": "rsa-1"})
    told = []
    guesses = [guess for number in range(51) if (guess := f"{KEY[:-4]}{number:04x}") != KEY]  # which one in 1 300 keys is
    for guess in guesses[:50]:
        for headers in ({"x-api-key": guess}, {"authorization": f"Bearer {forged}"}):
            with pytest.raises(InferenceError) as caught:
                await authenticator.authenticate(headers, NOW, PEER)
            told.append(caught.value.reason)
    assert ["bad-api-key", "bad-token"] * 10 == told[:20]
    assert {"failed-attempts"} == set(told[30:])
    assert (ErrorKind.UNAUTHENTICATED, "expired-token") == refusal(authenticator, expired(ed_signer), peer=PEER)
    for _ in range(2):
        assert ALICE == authenticator.check({"x-api-key": KEY}, NOW, PEER)
        assert ALICE == authenticator.check({"authorization": f"Bearer {rsa_signer.token()}"}, NOW, PEER)
    assert (ErrorKind.UNAUTHENTICATED, "bad-api-key") == refusal(authenticator, {"x-api-key": new_key()}, peer="10.9.9.9")


PEER = "10.0.0.1"


def expired(signer: Signer) -> dict[str, str]:
    """What a client sends that has slept."""
    return {"authorization": f"Bearer {signer.token({'exp': int(NOW) - 100})}"}


_header_text = (
    st.text() | st.builds("Bearer {}".format, st.text()) | st.builds("{}.{}.{}".format, st.text(), st.text(), st.text())
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["authorization", "x-api-key", "host"]), _header_text))
@example({"authorization": "Bearer \ud800"})
@example({"authorization": "Bearer " + "." * 9000})
@example({"authorization": "Bearer e30.e30.e30"})
@example({"x-api-key": "pk_\ud800"})
@example({"authorization": "\x00 Bearer"})
def test_arbitrary_headers_are_refused_and_nothing_else(headers: dict[str, str]) -> None:
    """Garbage is a 401, or a 400 for two credentials; no other error escapes and nothing is echoed."""
    authenticator, _, _ = accepting()
    for each in (authenticator, Authenticator(api_keys=_NO_KEYS)):
        both = "authorization" in headers and "x-api-key" in headers
        assert (ErrorKind.INVALID if both else ErrorKind.UNAUTHENTICATED) is refusal(each, headers)[0]


with tempfile.NamedTemporaryFile() as _nothing:
    _NO_KEYS = ApiKeys(Path(_nothing.name))


def test_libraries_are_loaded_only_when_needed(key_file: Path) -> None:
    """A gateway with API keys alone loads neither cryptography nor aiohttp: 21 MB saved."""
    program = (
        "import asyncio, sys, pathlib\nfrom gateway.auth.authenticator import build\n"
        "from gateway.auth.settings import AuthSettings\n"
        f"asyncio.run(build(AuthSettings(api_keys=pathlib.Path({str(key_file)!r})), print, environ={{}}))\n"
        "print([name for name in ('cryptography', 'aiohttp', 'jwt') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=30, check=True)
    assert ran.stdout.strip() == "[]"
