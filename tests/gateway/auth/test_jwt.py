"""Which tokens are believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from gateway.auth.jwk import VerifyKey, admit
from gateway.auth.jwt import LEEWAY, MAX_BYTES, TokenVerifier, TrustedIssuer
from gateway.auth.refusals import KeyUnknown
from gateway.auth.settings import ALGORITHMS, Claims
from routing.principal import Principal

if TYPE_CHECKING:
    from tests.gateway.auth.conftest import Signer

NOW = 1_800_000_000.0


class Published:
    """Keys that are known from the start."""

    def __init__(self, document: bytes) -> None:
        self._keys = admit(document, ALGORITHMS).keys
        self.asked = 0
        self.early = False

    empty = False

    def find(self, algorithm: str, kid: str | None) -> VerifyKey | None:
        self.asked += 1
        key = self._keys.get(kid or "rsa-1")
        return key if key is not None and key.algorithm == algorithm else None

    def may_learn(self) -> bool:
        return not self.early

    def begin(self) -> bool:
        return False

    async def learn(self) -> bool:
        return False


@pytest.fixture
def keys(jwks_file: Path) -> Published:
    """One key of each kind."""
    return Published(jwks_file.read_bytes())


@pytest.fixture
def verifier(keys: Published) -> TokenVerifier:
    """Trusts id.test for every algorithm, and rs.test for RS256 alone."""
    issuers = {
        "https://id.test": TrustedIssuer("penstock", ALGORITHMS, keys),
        "https://rs.test": TrustedIssuer("penstock", ("RS256",), keys),
    }
    return TokenVerifier(issuers, Claims(tenant="org", tier="plan", scopes="scp"))


def refusal(verifier: TokenVerifier, token: str | bytes) -> InferenceError:
    """The error this token gets; it is always a 401."""
    with pytest.raises(InferenceError) as caught:
        verifier.verify(token if isinstance(token, bytes) else token.encode(), NOW)
    assert ErrorKind.UNAUTHENTICATED is caught.value.kind
    return caught.value


def test_a_good_token_becomes_a_principal(verifier: TokenVerifier, signer: Signer) -> None:
    """Each algorithm's token yields the principal of its claims, and when it ends."""
    token = signer.token({"org": "acme", "plan": "enterprise", "scp": "models:infer openid"})
    expected = Principal("alice", "acme", "enterprise", frozenset({"models:infer", "openid"}))
    assert (expected, NOW + 600 + LEEWAY) == verifier.verify(token.encode(), NOW)


def test_another_librarys_tokens_are_believed(verifier: TokenVerifier, signer: Signer) -> None:
    """Tokens written by PyJWT verify: it is an independent reading of the same standards."""
    claims = {"iss": "https://id.test", "aud": ["other", "penstock"], "sub": "bob", "exp": int(NOW) + 60, "iat": int(NOW)}
    token = pyjwt.encode(claims, signer.private, algorithm=signer.algorithm, headers={"kid": signer.kid})
    assert (Principal("bob"), NOW + 60 + LEEWAY) == verifier.verify(token.encode(), NOW)


def test_scopes_may_be_a_list(verifier: TokenVerifier, ed_signer: Signer) -> None:
    """A list of words does as well as one text."""
    principal, _ = verifier.verify(ed_signer.token({"scp": ["models:infer:a", "models:admin"]}).encode(), NOW)
    assert frozenset({"models:infer:a", "models:admin"}) == principal.scopes


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": None}, "bad-token"),
        ({"exp": int(NOW) - LEEWAY}, "expired-token"),
        ({"exp": int(NOW) - LEEWAY - 1}, "expired-token"),
        ({"exp": -1}, "expired-token"),
        ({"exp": NOW + 60.0}, "bad-token"),
        ({"exp": str(int(NOW) + 60)}, "bad-token"),
        ({"exp": True}, "bad-token"),
        ({"exp": int(NOW) + 24 * 3600 + 31}, "bad-token"),
        ({"exp": 10**300}, "bad-token"),
        ({"nbf": int(NOW) + 31}, "bad-token"),
        ({"iat": int(NOW) + 31}, "bad-token"),
        ({"iat": "yesterday"}, "bad-token"),
        ({"nbf": True}, "bad-token"),
        ({"nbf": -1}, "bad-token"),
        ({"iat": -1e308}, "bad-token"),
        ({"nbf": int(NOW) + 6, "exp": int(NOW) + 5}, "bad-token"),
        ({"aud": ["penstock", 5]}, "foreign-audience"),
        ({"iss": "https://id.test/"}, "foreign-issuer"),
        ({"iss": "HTTPS://ID.TEST"}, "foreign-issuer"),
        ({"iss": None}, "foreign-issuer"),
        ({"iss": ["https://id.test"]}, "foreign-issuer"),
        ({"aud": "other"}, "foreign-audience"),
        ({"aud": "penstock-admin"}, "foreign-audience"),
        ({"aud": ["other"]}, "foreign-audience"),
        ({"aud": [["penstock"]]}, "foreign-audience"),
        ({"aud": {"penstock": 1}}, "foreign-audience"),
        ({"aud": None}, "foreign-audience"),
        ({"sub": None}, "bad-token"),
        ({"sub": "a b"}, "bad-token"),
        ({"sub": 7}, "bad-token"),
        ({"org": "x\ny"}, "bad-token"),
        ({"org": 3}, "bad-token"),
        ({"plan": {"a": 1}}, "bad-token"),
        ({"scp": 5}, "bad-token"),
        ({"scp": [5]}, "bad-token"),
        ({"scp": "a\tb"}, "bad-token"),
    ],
)
def test_claims_that_do_not_hold_are_refused(
    claims: dict[str, Any], reason: str, verifier: TokenVerifier, keys: Published, ed_signer: Signer
) -> None:
    """A wrong claim is a 401 with its reason, before any key is looked for."""
    assert reason == refusal(verifier, ed_signer.token(claims)).reason
    assert keys.asked == 0


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(NOW) - 29},
        {"exp": int(NOW)},
        {"exp": int(NOW) + 24 * 3600 + 30},
        {"nbf": int(NOW) + 30},
        {"iat": NOW + 29.5},
        {"plan": ""},
    ],
)
def test_clocks_may_differ_a_little(claims: dict[str, Any], verifier: TokenVerifier, ed_signer: Signer) -> None:
    """Half a minute between the issuer's clock and ours is forgiven either way; a whole day of life is allowed."""
    assert verifier.verify(ed_signer.token(claims).encode(), NOW)[0].subject == "alice"


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": {"kty": "OKP"}},
        {"jku": "https://evil.test/jwks"},
        {"x5u": "https://evil.test/x5u"},
        {"x5c": ["MII"]},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
        {"typ": "dpop+jwt"},
        {"typ": "secevent+jwt"},
        {"typ": 1},
        {"kid": 1},
        {"kid": ["ed-1"]},
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "eddsa"},
        {"alg": "HS256"},
        {"alg": "RS512"},
        {"alg": ["EdDSA"]},
        {"alg": None},
    ],
)
def test_headers_that_ask_for_more_are_refused(extra: dict[str, Any], verifier: TokenVerifier, ed_signer: Signer) -> None:
    """Embedded keys, extensions, other purposes and other algorithms are refused although the signature would hold."""
    assert refusal(verifier, ed_signer.token(header={"alg": "EdDSA", "kid": "ed-1", **extra})).reason == "bad-token"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_access_tokens_may_say_so(kind: str, verifier: TokenVerifier, ed_signer: Signer) -> None:
    """Both names of an access token are accepted."""
    verifier.verify(ed_signer.token(header={"alg": "EdDSA", "kid": "ed-1", "typ": kind}).encode(), NOW)


def test_a_public_key_is_no_shared_secret(verifier: TokenVerifier, rsa_signer: Signer) -> None:
    """HMAC with the published key as its secret, the classic confusion, is refused however the key is written."""
    private = rsa_signer.private
    assert isinstance(private, rsa.RSAPrivateKey)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body, _ = rsa_signer.token(header={"alg": "HS256", "kid": "rsa-1"}).split(".")
    for secret in (pem, pem.strip(), json.dumps(rsa_signer.jwk()).encode()):
        mac = hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256)
        signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        assert refusal(verifier, f"{head}.{body}.{signature}").reason == "bad-token"


def test_a_key_serves_its_own_algorithm_alone(verifier: TokenVerifier, ed_signer: Signer, rsa_signer: Signer) -> None:
    """A token that names a key of another type, or an algorithm its issuer may not use, is refused."""
    assert isinstance(refusal(verifier, ed_signer.token(header={"alg": "EdDSA", "kid": "rsa-1"})), KeyUnknown)
    assert refusal(verifier, ed_signer.token({"iss": "https://rs.test"})).reason == "bad-token"
    verifier.verify(rsa_signer.token({"iss": "https://rs.test"}).encode(), NOW)


@pytest.mark.parametrize("early", [False, True])
def test_a_foreign_signature_is_refused(
    early: bool, verifier: TokenVerifier, keys: Published, signer: Signer, rsa_signer: Signer
) -> None:
    """Another token's signature, none, and a changed claim are refused; its key may be new, if it is not too early to ask."""
    keys.early = early
    head, body, signature = signer.token().split(".")
    other = signer.token({"sub": "eve"}).split(".")
    for forged in (f"{head}.{other[1]}.{signature}", f"{head}.{body}.", f"{head}.{body}.{other[2]}", f"{head}.{body}.AAAA"):
        refused = refusal(verifier, forged)
        assert ("bad-token", not early) == (refused.reason, isinstance(refused, KeyUnknown))


def test_an_elliptic_signature_has_one_form(verifier: TokenVerifier, ec_signer: Signer) -> None:
    """Zeros, which broke Java (CVE-2022-21449), DER, and the right numbers with an extra zero are no signatures."""
    head, body, _ = ec_signer.token().split(".")
    good = ec_signer.sign(f"{head}.{body}".encode())
    for raw in (bytes(64), bytes.fromhex("3006020101020101"), b"\xff" * 64, good[:32] + b"\0" + good[32:]):
        signature = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        assert refusal(verifier, f"{head}.{body}.{signature}").reason == "bad-token"


def test_a_key_nobody_published_may_be_asked_for(verifier: TokenVerifier, ed_signer: Signer) -> None:
    """An unknown kid in an otherwise acceptable token says where to learn more."""
    assert isinstance(refusal(verifier, ed_signer.token(header={"alg": "EdDSA", "kid": "new"})), KeyUnknown)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c.d",
        "e30.e30.",
        "e30.e30.AA",
        "W10.W10.AA",
        "bnVsbA.bnVsbA.AA",
        "\x00.\x00.\x00",
        "YR.YR.YR",
    ],
)
def test_what_is_no_token_is_refused(token: str, verifier: TokenVerifier) -> None:
    """Wrong part counts, empty objects and other JSON are refused."""
    refusal(verifier, token)


def test_sloppy_spelling_of_a_good_token_is_refused(verifier: TokenVerifier, rsa_signer: Signer) -> None:
    """One token has one spelling: padding, spaces, line ends and other JSON serialisations are refused."""
    good = rsa_signer.token()
    head, body, signature = good.split(".")
    for sloppy in (f"{good}==", f"{good}\n", f" {good}", f"{head}=.{body}.{signature}", f"{head}.{body}.{signature[:-1]}/"):
        assert refusal(verifier, sloppy).reason == "bad-token"
    refusal(verifier, json.dumps({"protected": head, "payload": body, "signature": signature}))


def test_size_and_depth_are_bounded(verifier: TokenVerifier, ed_signer: Signer) -> None:
    """Eight KiB is the most, and nesting within it does no harm."""
    assert "longer than" in str(refusal(verifier, b"a" * (MAX_BYTES + 1)))
    assert "longer than" in str(refusal(verifier, ed_signer.token({"pad": "x" * MAX_BYTES})))
    refusal(verifier, ed_signer.token(b'{"iss":' + b"[" * 5000))


_member = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("aé.\n", max_size=5) | st.just(["x"])
_NAMES = ["iss", "aud", "sub", "exp", "nbf", "iat", "org", "plan", "scp"]


@settings(deadline=None)
@given(
    claims=st.dictionaries(st.sampled_from(_NAMES), _member),
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ"]), _member),
)
def test_only_refusals_escape(claims: dict[str, Any], header: dict[str, Any]) -> None:
    """Whatever well-signed members hold, a token is believed or refused."""
    kinds = []
    try:
        _VERIFIER.verify(_signed(claims, header), NOW)
    except InferenceError as error:
        kinds.append(error.kind)
    assert kinds in ([], [ErrorKind.UNAUTHENTICATED])


def _signed(claims: dict[str, Any], header: dict[str, Any]) -> bytes:
    good = {"iss": "https://id.test", "aud": "penstock", "sub": "alice", "exp": int(NOW) + 600}
    parts = [json.dumps({"alg": "EdDSA", **header}), json.dumps({**good, **claims}), "signature"]
    return b".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in parts)


class Anything:
    """An issuer whose key accepts every signature."""

    empty = False

    def find(self, algorithm: str, kid: str | None) -> VerifyKey | None:
        accept: Callable[[bytes, bytes], None] = lambda signature, signed: None  # noqa: E731
        return VerifyKey(algorithm, kid or "", (), accept)

    def may_learn(self) -> bool:
        return True

    def begin(self) -> bool:
        return False

    async def learn(self) -> bool:
        return False


_VERIFIER = TokenVerifier({"https://id.test": TrustedIssuer("penstock", ALGORITHMS, Anything())}, Claims("org", "plan", "scp"))
