"""`penstock keys` as operators use it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.auth.api_keys import ApiKeys, entry_hash, entry_of, load, new_key, parse
from gateway.auth.settings import KeySourceError
from gateway.cli.keys import append, as_yaml
from routing.principal import Principal

ROOT = Path(__file__).parents[3]
PROGRAM = """
import argparse, sys
from gateway.cli.keys import add_parser
parser = argparse.ArgumentParser(prog="penstock")
add_parser(parser.add_subparsers(required=True))
arguments = parser.parse_args()
sys.exit(arguments.run(arguments))
"""
NOW = 1_800_000_000.0
ALICE = Principal("alice", "acme", "free", frozenset({"models:infer:digits"}))
NEW = ["keys", "new", "--subject", "alice", "--tenant", "acme", "--tier", "free", "--scope", "models:infer:digits"]


def penstock(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """What `penstock` does with these arguments, input and environment."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        input=stdin,
        env=environ,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
    )


def test_a_new_key_and_its_entry_are_printed_and_work(tmp_path: Path) -> None:
    """The key is the first line, once; the rest is an entry that lets it in."""
    output = penstock(*NEW, "--expires", "2099-06-01T00:00:00+00:00").stdout
    key, _, entry = output.partition("\n")
    assert output.count(key.split("_")[2]) == 1
    path = tmp_path / "keys.yaml"
    path.write_text(entry)
    principal, ends = ApiKeys(path).verify(key, NOW)
    assert (principal, ends) == (ALICE, datetime(2099, 6, 1, tzinfo=UTC).timestamp())


def test_entries_are_appended_to_a_file(tmp_path: Path) -> None:
    """Only the key goes to stdout, the file is made for its owner alone, and comments in it stay."""
    path = tmp_path / "keys.yaml"
    keys = []
    for _ in range(2):
        ran = penstock(*NEW, "--file", str(path))
        keys.append(ran.stdout.strip())
        assert (ran.returncode, keys[-1] in ran.stderr) == (0, False)
        if len(keys) == 1:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            path.write_text("# ours\n" + path.read_text().rstrip("\n"))
            path.chmod(0o640)
    known = ApiKeys(path)
    assert [known.verify(key, NOW)[0] for key in keys] == [ALICE, ALICE]
    assert path.read_text().startswith("# ours\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [path] == list(tmp_path.iterdir())


def test_many_at_once_lose_none(tmp_path: Path) -> None:
    """Appends wait for each other."""
    path = tmp_path / "keys.yaml"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: append(path, entry_of(new_key(), ALICE)), range(24)))
    assert len(load(path)) == 24


@pytest.mark.parametrize("text", [f"[{{id: abcd, hash: 'sha256:{0:064d}', subject: a, scopes: []}}]", "- nonsense", "{}", "- ["])
def test_a_file_that_is_no_plain_list_is_left_alone(text: str, tmp_path: Path) -> None:
    """What cannot be appended to is refused, unchanged, and nothing is left beside it."""
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(KeySourceError):
        append(path, entry_of(new_key(), ALICE))
    assert text == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_an_empty_list_is_a_start(tmp_path: Path) -> None:
    """A file that says `[]` gets its first entry."""
    path = tmp_path / "keys.yaml"
    path.write_text("[]\n")
    append(path, entry_of(new_key(), ALICE))
    assert len(load(path)) == 1


def test_ids_of_digits_stay_text() -> None:
    """`123e45678901` is a name, not a number."""
    entry = entry_of("pk_123e45678901_" + "0" * 64, ALICE)
    assert (entry,) == parse(as_yaml(entry).encode(), "keys.yaml")


def test_json_is_one_object() -> None:
    """With --json the key and the entry come as JSON."""
    made = json.loads(penstock(*NEW, "--json").stdout)
    assert entry_hash(made["key"]) == made["entry"]["hash"]


def test_the_pepper_is_used_when_set() -> None:
    """The environment that serves the key makes it."""
    made = json.loads(penstock(*NEW, "--json", PENSTOCK_API_KEY_PEPPER="sixteen bytes or more").stdout)
    assert entry_hash(made["key"], b"sixteen bytes or more") == made["entry"]["hash"]


def test_a_pepper_is_introduced(tmp_path: Path) -> None:
    """One command puts it into every key of the file, again nothing; keys with and without it never mix."""
    path, pepper = tmp_path / "keys.yaml", "sixteen bytes or more"
    keys = [penstock(*NEW, "--file", str(path)).stdout.strip() for _ in range(2)]
    path.write_text("# ours\n" + path.read_text())
    early = penstock(*NEW, "--file", str(path), PENSTOCK_API_KEY_PEPPER=pepper)
    assert (2, "") == (early.returncode, early.stdout)
    assert f"first run penstock keys pepper --file {path}" in early.stderr
    for count in (2, 0):
        ran = penstock("keys", "pepper", "--file", str(path), PENSTOCK_API_KEY_PEPPER=pepper)
        assert f"{path}: the pepper was put into {count} of its keys" in ran.stdout
    keys.append(penstock(*NEW, "--file", str(path), PENSTOCK_API_KEY_PEPPER=pepper).stdout.strip())
    known = ApiKeys(path, pepper.encode())
    assert [ALICE] * 3 == [known.verify(key, NOW)[0] for key in keys]
    assert path.read_text().startswith("# ours\n")
    late = penstock(*NEW, "--file", str(path))
    assert (2, "") == (late.returncode, late.stdout)
    assert "set PENSTOCK_API_KEY_PEPPER" in late.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["keys"], "required"),
        (["keys", "new"], "--subject"),
        (["keys", "pepper"], "--file"),
        (["keys", "pepper", "--file", "/nonexistent/keys.yaml"], "set PENSTOCK_API_KEY_PEPPER_FILE"),
        (["keys", "new", "--subject", "a b"], "subject must be"),
        (["keys", "new", "--subject", "a", "--scope", "model:infer"], "is not models:infer"),
        (["keys", "new", "--subject", "a", "--file", "/nonexistent/keys.yaml"], "/nonexistent"),
        (["keys", "new", "--subject", "a", "--expires", "2027-01-01T00:00:00"], "time zone"),
        (["keys", "new", "--subject", "a", "--expires", "2099-01-01"], "did you mean 2099-01-01T00:00:00+00:00?"),
        (["keys", "new", "--subject", "a", "--expires", "tomorrow"], "'tomorrow' is not a moment; write it like 2027-01-31T"),
        (["keys", "new", "--subject", "a", "--expires", "2020-01-01T00:00:00Z"], "is over already"),
        (["keys", "new", "--subject", "a", "--file", "/dev/zero"], "/dev/zero: a pipe, socket or device, not a file"),
    ],
)
def test_wrong_use_is_explained(arguments: list[str], why: str) -> None:
    """Exit status 2, the reason on stderr, and no key that would not work."""
    ran = penstock(*arguments)
    assert (ran.returncode, ran.stdout, why in ran.stderr) == (2, "", True)
    assert "Traceback" not in ran.stderr


def test_a_hash_is_made_of_a_key_on_stdin() -> None:
    """`keys hash` prints the hash alone, as JSON on request, and repeats no input that is not a key."""
    key = new_key()
    assert f"{entry_hash(key)}\n" == penstock("keys", "hash", stdin=key).stdout
    assert {"hash": entry_hash(key)} == json.loads(penstock("keys", "hash", "--json", stdin=f"{key}\n").stdout)
    refused = penstock("keys", "hash", stdin="hunter2\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "hunter2" not in refused.stderr


@pytest.mark.parametrize("command", ["new", "hash"])
def test_help_shows_an_example(command: str) -> None:
    """Each command's --help ends with a command to copy."""
    ran = penstock("keys", command, "--help")
    assert (ran.returncode, f"penstock keys {command}" in ran.stdout.partition("example:")[2]) == (0, True)
