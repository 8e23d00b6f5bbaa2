"""API keys: made here, kept only as hashes, found by their public id.

A key reads `pk_<id>_<secret>`; the secret is 256 random bits. That is why its hash is one HMAC-SHA256 and not bcrypt or
argon2: slow hashes protect secrets that can be guessed, and nobody guesses 256 bits, while a slow hash would cost every
first request milliseconds and hand attackers a lever. What the hash must stop is a stolen file from being used: it does.
The pepper (a secret kept apart from the file) also stops whoever can write the file from adding keys of their own; so where
there is one, an entry without it is refused. An entry's hash says how it was made:
    sha256:              HMAC-SHA256("", key), where there is no pepper
    hmac-sha256:         HMAC-SHA256(pepper, key)
    hmac-sha256+sha256:  HMAC-SHA256(pepper, HMAC-SHA256("", key)): what `penstock keys pepper` makes of the first without the key
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from gateway.aside import alone
from gateway.auth.principals import WORD, is_our_scope, is_word, principal_of
from gateway.auth.refusals import refused
from gateway.auth.settings import KeySourceError
from gateway.configuration.decode import Findings, decode_list, read_text
from gateway.configuration.files import read_file
from gateway.configuration.problems import PolicyError, UnreadableError, nearest, shown
from gateway.configuration.yaml_source import survey
from routing.principal import FEEDBACK, INFER, PRIORITY, Principal

PEPPER = "PENSTOCK_API_KEY_PEPPER"
PEPPER_FILE = "PENSTOCK_API_KEY_PEPPER_FILE"
_MIN_PEPPER = 16  # bytes

_KEY = re.compile(r"pk_([a-z0-9]{4,32})_([A-Za-z0-9_-]{32,128})")
_LIKE_A_KEY = re.compile(r"pk_[A-Za-z0-9_-]*")
_ID = re.compile(r"[a-z0-9]{4,32}")
_FORMS = ("sha256", "hmac-sha256", "hmac-sha256+sha256")  # in the order of `_digests`
_HASH = re.compile(r"(hmac-sha256\+|hmac-)?sha256:[0-9a-f]{64}")
_PLAIN = re.compile(r"sha256:([0-9a-f]{64})")
_SCOPES = (INFER, f"{INFER}:<model>", PRIORITY, FEEDBACK, "models:admin")
_NEVER = float("inf")
NAMED = 50  # keys in one line of the log
_log = logging.getLogger(__name__)


def read_id(value: object) -> str:
    """The public part of a key. Raises UnreadableError."""
    text = read_text(value)
    if not _ID.fullmatch(text):  # not repeated, like a hash that is none: it may be the key itself
        raise UnreadableError("must be the part of the key between pk_ and the next _: 4 to 32 small letters and digits")
    return text


def read_hash(value: object) -> str:
    """What `penstock keys` made of a key. Raises UnreadableError."""
    text = read_text(value)
    if not _HASH.fullmatch(text):
        raise UnreadableError("must read sha256: or hmac-sha256: and 64 hexadecimal digits; penstock keys hash makes it of a key")
    return text


def read_word(value: object) -> str:
    """A word of a principal. Raises UnreadableError."""
    text = read_text(value)
    if not is_word(text):
        raise UnreadableError(f"must be {WORD}")
    return text


def read_optional_word(value: object) -> str:
    """As `read_word`, or empty. Raises UnreadableError."""
    return "" if value == "" else read_word(value)


def read_scopes(value: object) -> tuple[str, ...]:
    """A list of scopes that this gateway acts on, which may be empty. Raises UnreadableError."""
    if not isinstance(value, list | tuple):
        raise UnreadableError("must be a list, such as [models:infer]", f"[{value}]" if isinstance(value, str) else None)
    for scope in value:
        if not (isinstance(scope, str) and is_our_scope(scope)):
            valid = f"{', '.join(_SCOPES[:-1])} or {_SCOPES[-1]}"
            raise UnreadableError(f"{shown(scope)} is not {valid}", nearest(str(scope), _SCOPES))
    return tuple(value)


def read_moment(value: object) -> datetime:
    """A moment with its time zone, as in RFC 3339. Raises UnreadableError."""
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise UnreadableError(f"{shown(value)} is not a moment; write it like 2027-01-31T00:00:00+00:00") from None
    if moment.tzinfo is None:
        raise UnreadableError(f"{shown(value)} has no time zone", f"{moment.isoformat()}+00:00")
    return moment


class ApiKeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One entry of the key file. `expires` carries its time zone."""

    id: Annotated[str, read_id]
    hash: Annotated[str, read_hash]
    subject: Annotated[str, read_word]
    tenant: Annotated[str, read_optional_word] = ""
    tier: Annotated[str, read_optional_word] = ""
    scopes: Annotated[tuple[str, ...], read_scopes]
    expires: Annotated[datetime, read_moment] | None = None

    @property
    def peppered(self) -> bool:
        """Whether the pepper must be known to verify its key."""
        return not self.hash.startswith("sha256:")


@dataclass(frozen=True, slots=True)
class _Known:
    digest: bytes
    form: int  # which of `_digests`
    principal: Principal
    ends: float  # wall seconds


class ApiKeys:
    """The keys of one file. Raises KeySourceError when made of a file that cannot be used."""

    def __init__(self, path: Path, pepper: bytes = b"") -> None:
        self._path = path
        self._pepper = pepper
        self._known = self._read()
        # A key that is not there is compared with this one, so that guessing ids by the clock teaches nothing.
        self._decoy = _Known(secrets.token_bytes(32), 0, Principal(subject="nobody"), _NEVER)

    def verify(self, credential: str, now: float) -> tuple[Principal, float]:
        """The key's principal and the wall time (seconds) it ends; raises a 401."""
        known = self._known.get(id_of(credential), self._decoy)
        same = hmac.compare_digest(known.digest, _digests(credential, self._pepper)[known.form])
        if not same or known is self._decoy:
            raise refused("the API key is not valid", "bad-api-key")
        if known.ends <= now:
            raise refused("the API key has expired: ask for a new one", "expired-api-key")
        return known.principal, known.ends

    async def reload(self) -> None:
        """Reads the file again, in a thread. Raises KeySourceError, and keeps what there was, when it cannot be used."""
        self._known = await alone(self._read_again)

    def _read_again(self) -> dict[str, _Known]:
        known = self._read()
        if not known and self._known and not read_file(self._path).strip():  # truncated, and not written again yet
            raise KeySourceError(f"{self._path}: is empty; if all keys shall go, write []")
        if gone := sorted(self._known.keys() - known.keys()):  # a file cut off between two entries looks like a revocation
            more = f" and {len(gone) - NAMED} more" if len(gone) > NAMED else ""
            _log.warning("%s: keys gone: %d (%s%s)", self._path, len(gone), ", ".join(gone[:NAMED]), more)
        return known

    def _read(self) -> dict[str, _Known]:
        known = {}
        for entry in load(self._path):
            if not entry.peppered and self._pepper:
                pepper = f"penstock keys pepper --file {shlex.quote(str(self._path))}"
                raise KeySourceError(
                    f"{self._path}: key {entry.id} is without the pepper that is set; this puts it in:\n  {pepper}"
                )
            if entry.peppered and not self._pepper:
                raise KeySourceError(f"{self._path}: key {entry.id} was made with a pepper: set {PEPPER} or {PEPPER_FILE}")
            form, _, digest = entry.hash.partition(":")
            known[entry.id] = _Known(
                bytes.fromhex(digest),
                _FORMS.index(form),
                _principal(entry),
                entry.expires.timestamp() if entry.expires else _NEVER,
            )
        return known


def new_key() -> str:
    """A fresh key with 256 random bits. Whoever gets it sees it once."""
    return f"pk_{secrets.token_hex(6)}_{secrets.token_hex(32)}"


def entry_hash(key: str, pepper: bytes = b"") -> str:
    """What the file keeps of the key. Raises KeySourceError, which does not repeat it, when it is not one of our keys."""
    if not id_of(key):
        raise KeySourceError("not an API key: it must read pk_<id>_<secret>, the secret of 32 to 128 letters, digits, - and _")
    form = 1 if pepper else 0
    return f"{_FORMS[form]}:{_digests(key, pepper)[form].hex()}"


def with_pepper(content: bytes, name: str, pepper: bytes) -> tuple[bytes, int]:
    """The key file's bytes with the pepper put into every hash without it, all else as it was, and how many these were.

    Raises KeySourceError when it is no key file.
    """
    plain = {entry.hash for entry in parse(content, name) if not entry.peppered}

    def put(found: re.Match[str]) -> str:
        if found[0] not in plain:  # a comment's
            return found[0]
        return f"{_FORMS[2]}:{hmac.digest(pepper, bytes.fromhex(found[1]), 'sha256').hex()}"

    return _PLAIN.sub(put, content.decode()).encode(), len(plain)


def entry_of(key: str, principal: Principal, expires: datetime | None = None, pepper: bytes = b"") -> ApiKeyEntry:
    """The file entry of a key. Raises KeySourceError for words or scopes that do not do."""
    entry = ApiKeyEntry(
        id=id_of(key),
        hash=entry_hash(key, pepper),
        subject=principal.subject,
        tenant=principal.tenant,
        tier=principal.tier,
        scopes=tuple(sorted(principal.scopes)),
        expires=expires,
    )
    try:
        read_scopes(entry.scopes)
    except UnreadableError as error:
        raise KeySourceError(f"scopes: {error.message}") from error
    return entry


def load(path: Path) -> tuple[ApiKeyEntry, ...]:
    """The file's entries. Raises KeySourceError with path and place; warns when anybody may write the file."""
    try:
        content = read_file(path)
        if path.stat().st_mode & stat.S_IWOTH:
            _log.warning("%s may be written by everybody, who can so give themselves keys: chmod o-w it", path)
    except FileNotFoundError as error:
        make = f"penstock keys new --subject NAME --file {shlex.quote(str(path))}"
        raise KeySourceError(f"{path}: cannot be read: {error.strerror}; this makes it, with a first key:\n  {make}") from error
    except OSError as error:
        raise KeySourceError(f"{path}: cannot be read: {error.strerror}") from error
    return parse(content, str(path))


def parse(content: bytes, name: str) -> tuple[ApiKeyEntry, ...]:
    """The entries of a key file's bytes; `name` is the file's. Raises KeySourceError with every fault and its place."""
    try:
        found = Findings(survey(content, name))
        entries = decode_list(found, ApiKeyEntry)
        _check_ids(found)
        if found.problems:
            raise PolicyError(name, found.problems)
    except PolicyError as error:  # a key may stand where none should: the log must not show it
        raise KeySourceError(_LIKE_A_KEY.sub("pk_…", str(error))) from None
    return entries


def pepper_of(environ: Mapping[str, str]) -> bytes:
    """The pepper named by the environment, empty when there is none. Raises KeySourceError when it cannot be used."""
    given, path = environ.get(PEPPER, ""), environ.get(PEPPER_FILE, "")
    if given and path:
        raise KeySourceError(f"set {PEPPER} or {PEPPER_FILE}, not both")
    if not (given or path):
        return b""
    try:
        pepper = read_file(Path(path)).strip() if path else given.encode()
        if path and Path(path).stat().st_mode & stat.S_IROTH:
            _log.warning("%s=%s may be read by everybody: chmod o-r it", PEPPER_FILE, path)
    except OSError as error:
        raise KeySourceError(f"{PEPPER_FILE}: cannot be read: {error.strerror}") from error
    if len(pepper) < _MIN_PEPPER:
        raise KeySourceError(f"the API key pepper must have at least {_MIN_PEPPER} bytes")
    return pepper


def _check_ids(found: Findings) -> None:
    first: dict[object, int] = {}
    for place, entry in enumerate(found.source.value if isinstance(found.source.value, list) else ()):
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and first.setdefault(name, place) != place:
            line = found.source.mark((first[name], "id")).line
            found.wrong((place, "id"), f"{shown(name)} is already on line {line}")


def _principal(entry: ApiKeyEntry) -> Principal:
    return principal_of(entry.subject, entry.tenant, entry.tier, entry.scopes)


def id_of(key: str) -> str:
    """The key's public part; empty for what is no key."""
    found = _KEY.fullmatch(key)
    return found[1] if found else ""


def _digests(key: str, pepper: bytes) -> tuple[bytes, bytes, bytes]:
    """In every form: always all of them, so that a key takes as long to refuse whichever is on file, or none."""
    text = key.encode("utf-8", "surrogatepass")
    plain = hmac.digest(b"", text, "sha256")
    return plain, hmac.digest(pepper, text, "sha256"), hmac.digest(pepper, plain, "sha256")
