"""API keys and the file that keeps their hashes."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from gateway.auth.api_keys import (
    PEPPER,
    PEPPER_FILE,
    ApiKeys,
    entry_hash,
    entry_of,
    id_of,
    load,
    new_key,
    parse,
    pepper_of,
    with_pepper,
)
from gateway.auth.settings import KeySourceError
from routing.principal import Principal

NOW = 1_800_000_000.0
KEY = "pk_0123456789ab_" + "0" * 64
PEPPERED = b"a pepper kept elsewhere"
ALICE = Principal("alice", "acme", "free", frozenset({"models:infer"}))


def written(path: Path, *, hash_: str = "", more: str = "") -> Path:
    """A key file with one entry for KEY."""
    path.write_text(
        f'- id: "0123456789ab"\n  hash: {hash_ or entry_hash(KEY)}\n  subject: alice\n'
        f"  tenant: acme\n  tier: free\n  scopes: [models:infer]\n{more}"
    )
    return path


def reason(keys: ApiKeys, credential: str) -> str:
    """The reason this credential is refused."""
    with pytest.raises(InferenceError) as caught:
        keys.verify(credential, NOW)
    assert ErrorKind.UNAUTHENTICATED is caught.value.kind
    assert caught.value.message in ("the API key is not valid", "the API key has expired: ask for a new one")
    return caught.value.reason


def test_a_known_key_is_its_principal(tmp_path: Path) -> None:
    """The entry's words become the principal, without an end."""
    assert (ALICE, float("inf")) == ApiKeys(written(tmp_path / "keys.yaml")).verify(KEY, NOW)


def test_new_keys_are_long_random_and_findable() -> None:
    """256 random bits, a public id, and no two alike."""
    keys = {new_key() for _ in range(100)}
    assert 100 == len({key.split("_")[1] for key in keys}) == len(keys)
    assert {64} == {len(key.split("_")[2]) for key in keys}
    assert all(entry_hash(key).startswith("sha256:") for key in keys)


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "pk_",
        "pk_0123456789ab_" + "1" * 64,
        "pk_ffffffffffff_" + "0" * 64,
        KEY + "\n",
        " " + KEY,
        KEY.upper(),
        KEY + ", " + KEY,
        "ü\ud800",
    ],
)
def test_keys_that_do_not_hold_are_refused_alike(credential: str, tmp_path: Path) -> None:
    """A wrong secret, an unknown id and garbage get the same answer, which repeats nothing."""
    assert reason(ApiKeys(written(tmp_path / "keys.yaml")), credential) == "bad-api-key"


@given(st.text())
def test_no_text_escapes_as_another_error(credential: str) -> None:
    """Arbitrary text is refused, whatever it holds."""
    assert reason(_EMPTY, credential) == "bad-api-key"


@pytest.mark.parametrize("moment", ["2027-01-15T08:00:00Z", '"2027-01-15T08:00:00Z"', "2027-01-15T09:00:00+01:00"])
def test_a_key_ends_at_its_time(moment: str, tmp_path: Path) -> None:
    """`expires` is a moment, however YAML reads it; from then on the key is refused with a reason of its own."""
    keys = ApiKeys(written(tmp_path / "keys.yaml", more=f"  expires: {moment}\n"))
    assert keys.verify(KEY, NOW - 1) == (ALICE, NOW)
    assert reason(keys, KEY) == "expired-api-key"


def test_a_wrong_secret_learns_nothing_of_the_end(tmp_path: Path) -> None:
    """Only who holds the key is told that it has expired."""
    keys = ApiKeys(written(tmp_path / "keys.yaml", more="  expires: 2020-01-01T00:00:00Z\n"))
    assert reason(keys, KEY[:-1] + "1") == "bad-api-key"


def test_the_hash_is_one_hmac(tmp_path: Path) -> None:
    """The documented hash, computed another way: HMAC-SHA256 of the whole key under the pepper."""
    pepper = b"a pepper kept elsewhere"
    hashed = entry_hash(KEY, pepper)
    assert "hmac-sha256:" + hmac.new(pepper, KEY.encode(), hashlib.sha256).hexdigest() == hashed
    path = written(tmp_path / "keys.yaml", hash_=hashed)
    assert ApiKeys(path, pepper).verify(KEY, NOW)[0] == ALICE
    assert reason(ApiKeys(path, b"another pepper, not it"), KEY) == "bad-api-key"
    with pytest.raises(KeySourceError, match=f"made with a pepper: set {PEPPER}"):
        ApiKeys(path)


def test_where_there_is_a_pepper_no_key_is_without(tmp_path: Path) -> None:
    """Else whoever can write the file could add a key of their own; the refusal says how to put the pepper in."""
    path = written(tmp_path / "keys.yaml")
    with pytest.raises(KeySourceError, match=f"penstock keys pepper --file {path}"):
        ApiKeys(path, PEPPERED)


def test_a_pepper_is_put_in_without_the_keys(tmp_path: Path) -> None:
    """The key goes on holding under that pepper and no other; what had it already, and comments, stay as they are."""
    other = new_key()
    entry = f"- id: {id_of(other)}\n  hash: {entry_hash(other, PEPPERED)}\n  subject: bob\n  scopes: []\n"
    path = written(tmp_path / "keys.yaml", more=f"# was {entry_hash(other)}\n{entry}")
    before = path.read_text()
    content, count = with_pepper(path.read_bytes(), str(path), PEPPERED)
    assert 1 == count
    assert before.replace(entry_hash(KEY), "X") == re.sub(r"hmac-sha256\+sha256:\w{64}", "X", content.decode())
    path.write_bytes(content)
    assert ["alice", "bob"] == [ApiKeys(path, PEPPERED).verify(each, NOW)[0].subject for each in (KEY, other)]
    assert "bad-api-key" == reason(ApiKeys(path, b"another pepper, not it"), KEY)
    assert (content, 0) == with_pepper(content, str(path), PEPPERED)


@pytest.mark.parametrize("form", ["sha256", "hmac-sha256", "hmac-sha256+sha256"])
def test_a_hash_holds_in_its_own_form_alone(form: str, tmp_path: Path) -> None:
    """The digits of one form under the name of another are another key's."""
    plain = hmac.digest(b"", KEY.encode(), "sha256")
    digests = {"sha256": plain, "hmac-sha256": hmac.digest(PEPPERED, KEY.encode(), "sha256")}
    digests["hmac-sha256+sha256"] = hmac.digest(PEPPERED, plain, "sha256")
    for name, digest in digests.items():
        pepper = b"" if name == "sha256" else PEPPERED
        keys = ApiKeys(written(tmp_path / "keys.yaml", hash_=f"{name}:{digests[form].hex()}"), pepper)
        if digest == digests[form]:
            assert ALICE == keys.verify(KEY, NOW)[0]
        else:
            assert "bad-api-key" == reason(keys, KEY)


async def test_a_reload_swaps_only_what_is_whole(tmp_path: Path) -> None:
    """A broken file, or one that is being written, is an error and the old keys stay; a good one replaces them."""
    path = written(tmp_path / "keys.yaml")
    keys = ApiKeys(path)
    for broken in ("- id: x", "", " \n"):
        path.write_text(broken)
        with pytest.raises(KeySourceError):
            await keys.reload()
        assert keys.verify(KEY, NOW)[0] == ALICE
    path.write_text("# nobody\n")
    await keys.reload()
    assert reason(keys, KEY) == "bad-api-key"


async def test_keys_that_go_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They go at once, as a revocation must; a file that was cut off between two entries shows in the log, by public ids."""
    entry = f"  hash: {entry_hash(KEY)}\n  subject: alice\n  scopes: []\n"
    path = tmp_path / "keys.yaml"
    entries = [f"- id: abcd{number}\n{entry}" for number in range(60)]
    path.write_text("".join(entries))
    keys = ApiKeys(path)
    for left in (60, 58, 58, 1):
        path.write_text("".join(entries[:left]))
        await keys.reload()
    first, second = caplog.messages
    assert f"{path}: keys gone: 2 (abcd58, abcd59)" == first
    assert "keys gone: 57 (" in second
    assert second.endswith(" and 7 more)")


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("- {id: abcd, subject: a, scopes: [], password: x}", 1, "[0].password: secrets come from files"),
        ("{}", 1, "must be a list, not a mapping"),
        ("hello", 1, "must be a list, not 'hello'"),
        ("- hello", 1, "[0]: must be a mapping with id, hash"),
        ("- id: 123456", 1, "[0].id: '123456' is not text; put it in quotes — did you mean '\"123456\"'?"),
        ("- id: abcd", 1, "[0]: 'hash' is missing"),
        ("- subject: a\n  id: ABCD", 2, "[0].id: must be the part of the key"),
        ("- id: a\n  id: b\n", 2, "'id' is already on line 1"),
        ("- id: 'abc\n", 2, "not valid YAML"),
        ("- [", 1, "not valid YAML"),
        ("\x00", 1, "U+0000 is not allowed"),
        ("\t- id: abcd", 1, "not valid YAML"),
        ("- !!python/object:os.system {}", 1, "tags"),
        ("- &a {id: abcd}\n- *a\n", 2, "aliases (*a)"),
        ("- &a {id: ABCD}\n", 1, "[0].id: must be the part of the key"),
        ("a: &a [x, x]\nb: [*a, *a]\n", 2, "aliases (*a)"),
        ("[" * 100_000, 1, "more than 32 levels"),
        ("#" * (1 << 21), 1, "too large"),
    ],
)
def test_a_file_with_mistakes_says_where(text: str, line: int, why: str, tmp_path: Path) -> None:
    """Each mistake has its line and place, is told with what was meant, and costs no time however hostile it is."""
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(KeySourceError) as refusal:
        load(path)
    assert any(each.startswith(f"{path}:{line}: ") and why in each for each in str(refusal.value).splitlines())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("subject: alice", "subject: a b", r":3: \[0\].subject: must be 1 to 256"),
        ("tier: free", "teir: free", r":5: \[0\].teir: unknown key 'teir' — did you mean 'tier'"),
        ("[models:infer]", "[model:infer]", r":6: \[0\].scopes: 'model:infer' is not .* — did you mean 'models:infer'"),
        ("[models:infer]", "[7]", r"\[0\].scopes: '7' is not models:infer"),
        ("[models:infer]", "models:infer", r"must be a list, such as \[models:infer\] — did you mean"),
        ("sha256:", "md5:", r":2: \[0\].hash: must read sha256:"),
        ("tier: free", "expires: 2027-01-01T00:00:00", "has no time zone — did you mean '2027-01-01T00:00:00\\+00:00'"),
        ("tier: free", "expires: 2027-01-01", "has no time zone — did you mean '2027-01-01T00:00:00\\+00:00'"),
        ("tier: free", "expires: 2027-13-45T00:00:00Z", "is not a moment; write it like"),
        ("tier: free", "expires: soon", r":5: \[0\].expires: 'soon' is not a moment"),
        ("tier: free", "expires: 1e400", "is not a moment"),
        ("tier: free", "expires: [2027]", "is not a moment"),
    ],
)
def test_an_entry_with_mistakes_says_where(old: str, new: str, why: str, tmp_path: Path) -> None:
    """Words, scopes, hashes and times are checked when the file is read, not when a client comes."""
    path = written(tmp_path / "keys.yaml")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(KeySourceError, match=why):
        ApiKeys(path)


@pytest.mark.parametrize(
    ("old", "new"), [(entry_hash(KEY), KEY), ('"0123456789ab"', KEY), ("tier", KEY), ("tier: free", f"&{KEY} 1")]
)
def test_no_key_is_repeated(old: str, new: str, tmp_path: Path) -> None:
    """Whoever puts the key itself where its hash, its id or a name belongs does not find it in the log."""
    text = written(tmp_path / "keys.yaml").read_text().replace(old, new)
    with pytest.raises(KeySourceError) as refusal:
        parse(text.encode(), "keys.yaml")
    assert "0" * 16 not in str(refusal.value)


def test_an_id_stands_once(tmp_path: Path) -> None:
    """Two entries of one id leave open who is meant."""
    text = written(tmp_path / "keys.yaml").read_bytes()
    with pytest.raises(KeySourceError, match=r"keys.yaml:7: \[1\].id: '0123456789ab' is already on line 1"):
        parse(text + text, "keys.yaml")


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    """The command can be copied as it stands, whatever the path."""
    path = tmp_path / "my keys.yaml"
    with pytest.raises(KeySourceError, match="No such file") as refusal:
        load(path)
    assert f"  penstock keys new --subject NAME --file '{path}'" == str(refusal.value).splitlines()[-1]


def test_a_missing_file_and_one_that_is_not_text_say_so(tmp_path: Path) -> None:
    """The path and the reason."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("none", "No such file"),
        ("binary", "not UTF-8"),
        (".", "directory"),
        ("pipe", "a pipe, socket or device"),
    ):
        with pytest.raises(KeySourceError, match=why):
            load(tmp_path / name)


def test_a_file_everybody_may_write_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever may write the file may let themselves in."""
    path = written(tmp_path / "keys.yaml")
    path.chmod(0o600)
    load(path)
    assert caplog.records == []
    path.chmod(0o666)
    load(path)
    assert "chmod o-w" in caplog.text


def test_the_pepper_comes_from_the_environment_or_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One of the two, long enough, without the file's line end; none is no pepper. A file everybody may read is warned about."""
    path = tmp_path / "pepper"
    path.write_text("sixteen bytes or more\n")
    for mode in (0o600, 0o644):
        path.chmod(mode)
        assert pepper_of({PEPPER_FILE: str(path)})
        assert (mode == 0o644) == ("chmod o-r" in caplog.text)
    assert pepper_of({}) == b""
    assert b"sixteen bytes or more" == pepper_of({PEPPER: "sixteen bytes or more"}) == pepper_of({PEPPER_FILE: str(path)})
    for environ in ({PEPPER: "short"}, {PEPPER: "x" * 20, PEPPER_FILE: "x"}, {PEPPER_FILE: str(tmp_path / "none")}):
        with pytest.raises(KeySourceError) as refusal:
            pepper_of(environ)
        assert "short" not in str(refusal.value)


def test_entries_are_checked_when_made() -> None:
    """What the file would refuse is refused before it is written; what is no key is not repeated."""
    assert datetime(2030, 1, 1, tzinfo=UTC) == entry_of(KEY, ALICE, datetime(2030, 1, 1, tzinfo=UTC)).expires
    with pytest.raises(KeySourceError, match="scopes"):
        entry_of(KEY, Principal("alice", scopes=frozenset({"openid"})))
    with pytest.raises(KeySourceError) as refusal:
        entry_hash("hunter2")
    assert "hunter2" not in str(refusal.value)


with tempfile.NamedTemporaryFile() as _nothing:
    _EMPTY = ApiKeys(Path(_nothing.name))
