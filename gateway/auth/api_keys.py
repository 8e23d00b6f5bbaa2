"""API keys: made here, kept only as hashes, found by their public id.

A key reads `pk_<id>_<secret>`; the secret is 256 random bits. That is why its hash is one HMAC-SHA256 and not bcrypt or
argon2: slow hashes protect secrets that can be guessed, and nobody guesses 256 bits, while a slow hash would cost every
first request milliseconds and hand attackers a lever. What the hash must stop is a stolen file from being used: it does.
The optional pepper (a secret kept apart from the file) also stops whoever can write the file from adding keys of their own.
An entry's hash says whether it needs the pepper: `hmac-sha256:` with it, `sha256:` without.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from gateway.auth.principals import is_our_scope, principal_of
from gateway.auth.refusals import refused
from gateway.auth.settings import KeySourceError
from routing.principal import Principal

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML without libyaml: slower, same values
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

PEPPER = "PENSTOCK_API_KEY_PEPPER"
PEPPER_FILE = "PENSTOCK_API_KEY_PEPPER_FILE"
_MIN_PEPPER = 16  # bytes

_KEY = re.compile(r"pk_([a-z0-9]{4,32})_([A-Za-z0-9_-]{32,128})")
_NEVER = float("inf")
_log = logging.getLogger(__name__)


class ApiKeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One entry of the key file. `expires` carries its time zone."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{4,32}\Z")]
    hash: Annotated[str, msgspec.Meta(pattern=r"^(hmac-)?sha256:[0-9a-f]{64}\Z")]
    subject: str
    tenant: str = ""
    tier: str = ""
    scopes: list[str]
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    digest: bytes
    pepper: bytes
    principal: Principal
    ends: float  # wall seconds


class ApiKeys:
    """The keys of one file. Raises KeySourceError when made of a file that cannot be used."""

    def __init__(self, path: Path, pepper: bytes = b"") -> None:
        self._path = path
        self._pepper = pepper
        self._known = self._read()
        # A key that is not there is compared with this one, so that guessing ids by the clock teaches nothing.
        self._decoy = _Known(secrets.token_bytes(32), pepper, Principal(subject="nobody"), _NEVER)

    def verify(self, credential: str, now: float) -> tuple[Principal, float]:
        """The key's principal and the wall time (seconds) it ends; raises a 401."""
        key_id = _id_of(credential)
        known = self._known.get(key_id, self._decoy) if key_id else self._decoy
        same = hmac.compare_digest(known.digest, _digest(credential, known.pepper))
        if not same or known is self._decoy:
            raise refused("the API key is not valid", "bad-api-key")
        if known.ends <= now:
            raise refused("the API key has expired: ask for a new one", "expired-api-key")
        return known.principal, known.ends

    def prepare(self) -> Callable[[], None]:
        """Reads the file again (KeySourceError if it cannot be used); the call returned takes its keys into use."""
        known = self._read()

        def take() -> None:
            self._known = known

        return take

    def _read(self) -> dict[str, _Known]:
        known = {}
        for entry in load(self._path):
            peppered = entry.hash.startswith("hmac-")
            if peppered and not self._pepper:
                raise KeySourceError(f"{self._path}: key {entry.id} was made with a pepper: set {PEPPER} or {PEPPER_FILE}")
            known[entry.id] = _Known(
                bytes.fromhex(entry.hash.partition(":")[2]),
                self._pepper if peppered else b"",
                _principal(entry),
                entry.expires.timestamp() if entry.expires else _NEVER,
            )
        return known


def new_key() -> str:
    """A fresh key with 256 random bits. Whoever gets it sees it once."""
    return f"pk_{secrets.token_hex(6)}_{secrets.token_hex(32)}"


def entry_hash(key: str, pepper: bytes = b"") -> str:
    """What the file keeps of the key. Raises KeySourceError, which does not repeat it, when it is not one of our keys."""
    if _id_of(key) is None:
        raise KeySourceError("not an API key: it must read pk_<id>_<secret>")
    return ("hmac-sha256:" if pepper else "sha256:") + _digest(key, pepper).hex()


def entry_of(key: str, principal: Principal, expires: datetime | None = None, pepper: bytes = b"") -> ApiKeyEntry:
    """The file entry of a key. Raises KeySourceError for words or scopes that do not do."""
    entry = ApiKeyEntry(
        id=_id_of(key) or "",
        hash=entry_hash(key, pepper),
        subject=principal.subject,
        tenant=principal.tenant,
        tier=principal.tier,
        scopes=sorted(principal.scopes),
        expires=expires,
    )
    _check([entry])
    return entry


def load(path: Path) -> list[ApiKeyEntry]:
    """The file's entries. Raises KeySourceError with path and place; warns when anybody may write the file."""
    try:
        text = path.read_text("utf-8")
        if path.stat().st_mode & stat.S_IWOTH:
            _log.warning("%s may be written by everybody, who can so give themselves keys: chmod o-w it", path)
        return parse(text)
    except OSError as error:
        raise KeySourceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeySourceError(f"{path}: not UTF-8") from error
    except KeySourceError as error:
        raise KeySourceError(f"{path}: {error}") from error


def parse(text: str) -> list[ApiKeyEntry]:
    """The entries of the file's text. Raises KeySourceError with the place of the fault."""
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, only stricter
        entries = msgspec.convert(document if document is not None else [], list[ApiKeyEntry])
    except yaml.MarkedYAMLError as error:  # its own text would quote the file
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise KeySourceError(f"line {line}: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise KeySourceError("not YAML") from error
    except ValueError as error:  # msgspec.ValidationError, or a date that is none
        raise KeySourceError(str(error)) from error
    _check(entries)
    return entries


def pepper_of(environ: Mapping[str, str]) -> bytes:
    """The pepper named by the environment, empty when there is none. Raises KeySourceError when it cannot be used."""
    given, path = environ.get(PEPPER, ""), environ.get(PEPPER_FILE, "")
    if given and path:
        raise KeySourceError(f"set {PEPPER} or {PEPPER_FILE}, not both")
    if not (given or path):
        return b""
    try:
        pepper = Path(path).read_bytes().strip() if path else given.encode()
    except OSError as error:
        raise KeySourceError(f"{PEPPER_FILE}: cannot be read: {error.strerror}") from error
    if len(pepper) < _MIN_PEPPER:
        raise KeySourceError(f"the API key pepper must have at least {_MIN_PEPPER} bytes")
    return pepper


class _Loader(_SafeLoader):
    """Refuses a key given twice, where YAML libraries silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        made = super().construct_mapping(node, deep)
        if len(made) < len(node.value):
            raise yaml.MarkedYAMLError(problem="a key is given twice in one entry", problem_mark=node.start_mark)
        return made


def _check(entries: list[ApiKeyEntry]) -> None:
    seen: set[str] = set()
    for place, entry in enumerate(entries):
        if entry.id in seen:
            raise KeySourceError(f"$[{place}].id: {entry.id} is there twice")
        seen.add(entry.id)
        try:
            _principal(entry)
        except ValueError as error:
            raise KeySourceError(f"$[{place}]: {error}") from error
        wrong = [scope for scope in entry.scopes if not is_our_scope(scope)]
        if wrong:
            raise KeySourceError(f"$[{place}].scopes: {wrong[0]!r} is not models:infer, models:infer:<model> or models:admin")


def _principal(entry: ApiKeyEntry) -> Principal:
    return principal_of(entry.subject, entry.tenant, entry.tier, entry.scopes)


def _id_of(key: str) -> str | None:
    found = _KEY.fullmatch(key)
    return found[1] if found else None


def _digest(key: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, key.encode("utf-8", "surrogatepass"), "sha256")
