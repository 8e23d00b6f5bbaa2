"""Authentication and permission: who may ask what, told in the protocol's own errors before any backend is touched."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from tritonclient.grpc import service_pb2

from tests.features.conftest import PLAIN

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

PRIVATE = ed25519.Ed25519PrivateKey.generate()
BODY = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[1,4],"data":[0,0,0,0]}]}'
TWO_MODELS = (
    PLAIN
    + """
  other:
    variants: {only: {backend: triton, model: simple}}
    routes: [{name: default, use: only}]
"""
)


def token(private: ed25519.Ed25519PrivateKey = PRIVATE, **claims: Any) -> str:
    """A good token, but for the claims given; None takes one away."""
    good = {"iss": "https://id.test", "aud": "penstock", "sub": "alice", "exp": int(time.time()) + 60, "scope": "models:infer"}
    given = {name: value for name, value in {**good, **claims}.items() if value is not None}
    return jwt.encode(given, private, "EdDSA", {"kid": "k"})


@pytest.fixture
async def gate(start: Start, tmp_path: Path) -> Running:
    """Two models; tokens of one issuer and API keys are accepted."""
    key = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(PRIVATE.public_key()))
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [{**key, "kid": "k", "alg": "EdDSA", "use": "sig"}]}))
    issuer = f"jwt: [{{issuer: https://id.test, audience: penstock, jwks: {tmp_path / 'jwks.json'}, algorithms: [EdDSA]}}]"
    return await start(TWO_MODELS, auth=issuer)


async def bearer(gate: Running, credential: str, model: str = "digits") -> Any:
    return await gate.ask("POST", f"/v2/models/{model}/infer", BODY, {"Authorization": credential}, caller="")


async def test_a_token_opens_the_door(gate: Running) -> None:
    """A token of the trusted issuer is believed, and believed again when it comes again."""
    for _ in range(2):
        assert 200 == (await bearer(gate, f"Bearer {token()}")).status
    assert 1 == (await gate.metrics())["penstock_issuer_up", ("https://id.test",)]


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1_500_000_000}, "expired-token"),
        ({"iss": "https://evil.test"}, "foreign-issuer"),
        ({"aud": "another"}, "foreign-audience"),
        ({"exp": None}, "bad-token"),
        ({"sub": None}, "bad-token"),
        ({"nbf": 4_000_000_000}, "bad-token"),
    ],
)
async def test_tokens_that_do_not_hold(gate: Running, claims: dict[str, Any], reason: str) -> None:
    """Expired, foreign or incomplete: 401, with the challenge that HTTP asks for."""
    reply = await bearer(gate, f"Bearer {token(**claims)}")
    assert (401, reason) == reply.error
    assert 'Bearer realm="penstock"' == reply.headers["www-authenticate"]
    assert [] == gate.backend.asked


async def test_other_things_that_are_no_credential(gate: Running) -> None:
    """A forged signature, no token at all, another scheme, a made-up or expired key: 401, and nothing of it comes back."""
    forged = token(ed25519.Ed25519PrivateKey.generate())
    unsigned = jwt.encode({"iss": "https://id.test", "aud": "penstock", "sub": "a", "exp": int(time.time()) + 60}, "", "none")
    for credential in (f"Bearer {forged}", f"Bearer {unsigned}", "Bearer x.y.z", "Basic YTpi", "Bearer", ""):
        reply = await bearer(gate, credential)
        assert (401, "bad-token") == reply.error
        assert not credential or credential.partition(" ")[2] not in reply.body.decode() or credential == "Bearer"
    for key, reason in (
        ("pk_0000_" + "0" * 64, "bad-api-key"),
        ("hello", "bad-api-key"),
        (gate.keys["expired"], "expired-api-key"),
    ):
        reply = await gate.ask("POST", "/v2/models/digits/infer", BODY, {"X-API-Key": key}, caller="")
        assert (401, reason) == reply.error
        assert key not in reply.body.decode()
    assert [] == gate.backend.asked


async def test_exactly_one_credential(gate: Running) -> None:
    """None is a 401, two are a 400 even if both hold, and one of a kind twice is a 400."""
    assert (401, "no-credential") == (await gate.infer([0], caller="")).error
    assert (400, "two-credentials") == (await gate.infer([0], {"Authorization": f"Bearer {token()}"})).error
    twice = {"X-API-Key": f"{gate.keys['free']}\r\nx-api-key: {gate.keys['enterprise']}"}
    assert (400, "header") == (await gate.infer([0], twice, caller="")).error
    assert [] == gate.backend.asked


async def test_scopes_name_models(gate: Running) -> None:
    """A scope for one model opens that one; another model is a 403, an unknown one a 404."""
    assert 200 == (await gate.infer([0], caller="digits-only")).status
    for method, path in (("POST", "/infer"), ("GET", ""), ("GET", "/config"), ("GET", "/stats"), ("GET", "/ready")):
        reply = await gate.ask(method, f"/v2/models/other{path}", BODY if method == "POST" else b"", caller="digits-only")
        assert (403, "forbidden") == reply.error
        assert (404, "not-found") == (await gate.ask(method, f"/v2/models/none{path}", caller="digits-only")).error
    assert (403, "forbidden") == (await gate.infer([0], caller="admin")).error
    assert (403, "forbidden") == (await bearer(gate, f"Bearer {token(scope='models:infer:digits openid')}", "other")).error
    assert 200 == (await bearer(gate, f"Bearer {token(scope='models:infer:digits openid')}")).status
    assert 1 + 1 == len(gate.backend.asked)


async def test_a_stranger_learns_nothing(gate: Running) -> None:
    """Without a credential every model looks the same, whether it exists or not."""
    replies = [await gate.ask("POST", f"/v2/models/{name}/infer", BODY, caller="") for name in ("digits", "none")]
    assert [(401, "no-credential")] * 2 == [each.error for each in replies]
    assert replies[0].body == replies[1].body


async def test_anonymous_only_where_it_is_said(start: Start) -> None:
    """With `anonymous: true` no credential is needed, but one that does not hold is still a 401."""
    gate = await start(PLAIN, auth="anonymous: true")
    assert 200 == (await gate.infer([0], caller="")).status
    assert (401, "bad-api-key") == (await gate.infer([0], {"X-API-Key": "wrong"}, caller="")).error


async def test_guesses_are_throttled_and_nobody_is_locked_out(gate: Running) -> None:
    """Over both protocols many wrong keys become 429s with Retry-After; the right one holds at the same address, first seen."""
    key = gate.keys["free"]
    replies = [await gate.infer([0], {"X-API-Key": f"{key[:-3]}{number:03x}"}, caller="") for number in range(30)]
    assert {(401, "bad-api-key"), (429, "failed-attempts")} == {each.error for each in replies[:25]}
    assert (429, "failed-attempts") == replies[-1].error
    assert "1" == replies[-1].headers["retry-after"]
    request = service_pb2.ModelMetadataRequest(name="digits")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gate.stub().ModelMetadata(request, metadata=(("x-api-key", f"{key[:-1]}!"),))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is caught.value.code()
    trailers = caught.value.trailing_metadata()
    assert trailers is not None
    assert "1" == dict(trailers)["retry-after"]
    await gate.stub().ModelMetadata(request, metadata=(("x-api-key", key),))
    assert 200 == (await gate.infer([0])).status
    assert 200 == (await bearer(gate, f"Bearer {token()}")).status
    assert (401, "expired-token") == (await bearer(gate, f"Bearer {token(exp=1_500_000_000)}")).error


async def test_a_key_is_withdrawn(gate: Running, tmp_path: Path) -> None:
    """A key taken out of the file is worth nothing after a reload; one that cannot be read keeps the old keys."""
    file = tmp_path / "keys.yaml"
    text = file.read_text()
    file.write_text("not: a list")
    await gate.gateway.reload()
    assert 200 == (await gate.infer([0])).status
    file.write_text("".join(f"- id:{entry}" for entry in text.split("- id:")[1:] if 'subject: "free"' not in entry))
    await gate.gateway.reload()
    assert (401, "bad-api-key") == (await gate.infer([0])).error
