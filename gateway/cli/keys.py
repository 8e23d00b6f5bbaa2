"""`penstock keys`: makes API keys, and the hashes the gateway keeps of them."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway.auth.api_keys import (
    PEPPER,
    PEPPER_FILE,
    ApiKeyEntry,
    entry_hash,
    entry_of,
    new_key,
    parse,
    pepper_of,
    read_moment,
    with_pepper,
)
from gateway.auth.principals import principal_of
from gateway.auth.settings import KeySourceError
from gateway.configuration.files import read_file, replace_file
from gateway.configuration.problems import UnreadableError
from routing.principal import INFER

_EXAMPLES = """examples:
  penstock keys new --subject checkout --tenant acme --tier enterprise --file config/api-keys.yaml
  printf %s "$KEY" | penstock keys hash"""
_NEW_EXAMPLE = """example:
  penstock keys new --subject checkout --tenant acme --tier enterprise --scope models:infer --file config/api-keys.yaml

The key is shown once, alone on the first line of the output; only its hash is kept. When PENSTOCK_API_KEY_PEPPER (or
PENSTOCK_API_KEY_PEPPER_FILE) is set, the hash needs that pepper, and so does the gateway."""
_HASH_EXAMPLE = """example:
  printf %s "$KEY" | penstock keys hash"""
_PEPPER_EXAMPLE = """example:
  (umask 077; head -c 32 /dev/urandom | base64 > /etc/penstock/pepper)
  PENSTOCK_API_KEY_PEPPER_FILE=/etc/penstock/pepper penstock keys pepper --file config/api-keys.yaml

The keys themselves are not needed and go on holding. Then restart the gateway with the same PENSTOCK_API_KEY_PEPPER_FILE;
a running one without it refuses the file and keeps the keys it has. A lost pepper makes every key worthless."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Registers `keys new`, `hash` and `pepper`; each sets `run`, a function of the parsed arguments returning the status."""
    raw = argparse.RawDescriptionHelpFormatter
    keys = subparsers.add_parser("keys", help="make API keys and their hashes", epilog=_EXAMPLES, formatter_class=raw)
    commands = keys.add_subparsers(dest="keys_command", required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="make a key", epilog=_NEW_EXAMPLE, formatter_class=raw)
    new.add_argument("--subject", required=True, help="who will use the key")
    new.add_argument("--tenant", default="", help="the organisation it counts for")
    new.add_argument("--tier", default="", help="the tier policies match on")
    new.add_argument(
        "--scope",
        action="append",
        metavar="SCOPE",
        help="models:infer (the default), models:infer:<model>, models:priority, models:feedback, models:admin; repeatable",
    )
    new.add_argument("--expires", type=_moment, metavar="TIME", help="when it ends, such as 2027-01-31T00:00:00+00:00")
    new.add_argument("--file", type=Path, help="append the entry to this key file instead of printing it")
    new.add_argument("--json", action="store_true", help="print JSON")
    new.set_defaults(run=_new)
    hashed = commands.add_parser(
        "hash", help="read a key from stdin and print its hash", epilog=_HASH_EXAMPLE, formatter_class=raw
    )
    hashed.add_argument("--json", action="store_true", help="print JSON")
    hashed.set_defaults(run=_hash)
    pepper = commands.add_parser(
        "pepper", help="put the pepper into a file's hashes", epilog=_PEPPER_EXAMPLE, formatter_class=raw
    )
    pepper.add_argument("--file", type=Path, required=True, help="the key file")
    pepper.set_defaults(run=_pepper)


def append(path: Path, entry: ApiKeyEntry) -> None:
    """Adds the entry to the key file (made with mode 0600 if it is not there) so that readers see all of it or nothing.

    Comments and mode of the file stay. Raises KeySourceError when the file is not a key file, or has the pepper where the entry
    has none, or the other way round; OSError when it cannot be written.
    """
    with _alone(path):
        content = read_file(path) if path.exists() else b""
        entries = parse(content, str(path))
        before = len(entries)
        _check_pepper(path, entries, entry)
        text = content.decode("utf-8-sig")
        kept = "" if text.strip() == "[]" else text
        joined = kept + ("" if kept.endswith("\n") or not kept else "\n") + as_yaml(entry)
        try:
            whole = len(parse(joined.encode(), str(path))) == before + 1
        except KeySourceError as error:
            raise KeySourceError(f"{path}: the entry cannot be appended, because the file is not a plain list") from error
        if not whole:
            raise KeySourceError(f"{path}: the entry cannot be appended, because the file is not a plain list")
        replace_file(path, joined.encode())


def put_pepper(path: Path, pepper: bytes) -> int:
    """Puts the pepper into the file's hashes without it, and says how many. Raises KeySourceError, OSError."""
    with _alone(path):
        content, count = with_pepper(read_file(path), str(path), pepper)
        if any(not entry.peppered for entry in parse(content, str(path))):
            raise KeySourceError(f"{path}: the pepper cannot be put in, because a hash is not written in one piece")
        if count:
            replace_file(path, content)
    return count


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two that change the file at once would each lose the other's key."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _check_pepper(path: Path, entries: Sequence[ApiKeyEntry], entry: ApiKeyEntry) -> None:
    if all(each.peppered == entry.peppered for each in entries):
        return
    if entry.peppered:
        raise KeySourceError(
            f"{path}: has keys without the pepper: first run penstock keys pepper --file {shlex.quote(str(path))}"
        )
    raise KeySourceError(f"{path}: its keys have a pepper: set {PEPPER} or {PEPPER_FILE} as for the gateway")


def as_yaml(entry: ApiKeyEntry) -> str:
    """The entry as it stands in the key file, values quoted so that an id of digits stays text."""
    fields = msgspec.to_builtins(entry)
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "- " + "\n  ".join(lines) + "\n"


def _moment(text: str) -> datetime:
    try:
        moment = read_moment(text)
    except UnreadableError as error:
        meant = f"; did you mean {error.suggestion}?" if error.suggestion else ""
        raise argparse.ArgumentTypeError(error.message + meant) from None
    if moment <= datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"{text} is over already")
    return moment


def _new(arguments: argparse.Namespace) -> int:
    try:
        key = new_key()
        principal = principal_of(arguments.subject, arguments.tenant, arguments.tier, arguments.scope or [INFER])
        entry = entry_of(key, principal, arguments.expires, pepper_of(os.environ))
        if arguments.file is not None:
            append(arguments.file, entry)
    except (ValueError, OSError) as error:
        return _complain(error)
    if arguments.json:
        print(json.dumps({"key": key, "entry": msgspec.to_builtins(entry)}))
        return 0
    print(key)
    if arguments.file is None:
        print(f"\n{as_yaml(entry)}", end="")
    else:
        print(f"entry {entry.id} appended to {arguments.file}; the key above is not shown again", file=sys.stderr)
    return 0


def _hash(arguments: argparse.Namespace) -> int:
    try:
        hashed = entry_hash(sys.stdin.readline().strip(), pepper_of(os.environ))
    except (ValueError, OSError) as error:
        return _complain(error)
    print(json.dumps({"hash": hashed}) if arguments.json else hashed)
    return 0


def _pepper(arguments: argparse.Namespace) -> int:
    try:
        pepper = pepper_of(os.environ)
        if not pepper:
            raise KeySourceError(f"set {PEPPER_FILE} (or {PEPPER}) to the pepper to put in")
        count = put_pepper(arguments.file, pepper)
    except (ValueError, OSError) as error:
        return _complain(error)
    print(f"{arguments.file}: the pepper was put into {count} of its keys, which hold as before; restart the gateway with it")
    return 0


def _complain(error: Exception) -> int:
    said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
    print(f"penstock keys: {said}", file=sys.stderr)
    return 2
