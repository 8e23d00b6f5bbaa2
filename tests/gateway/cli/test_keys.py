"""`penstock keys` as operators use it."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.auth.api_keys import PEPPER, PEPPER_FILE, ApiKeys, entry_hash, entry_of, load, new_key, parse
from gateway.auth.settings import KeySourceError
from gateway.cli import main
from gateway.cli.keys import append, as_yaml
from routing.principal import Principal

ROOT = Path(__file__).parents[3]
NOW = 1_800_000_000.0
ALICE = Principal("alice", "acme", "free", frozenset({"models:infer:digits"}))
NEW = ["keys", "new", "--subject", "alice", "--tenant", "acme", "--tier", "free", "--scope", "models:infer:digits"]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def penstock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What `penstock` does with these arguments, input and environment, in this process: one of its own takes half a second."""

    def run(*arguments: str, stdin: str = "", pepper: str | None = None) -> Ended:
        monkeypatch.delenv(PEPPER_FILE, raising=False)
        if pepper is None:
            monkeypatch.delenv(PEPPER, raising=False)
        else:
            monkeypatch.setenv(PEPPER, pepper)
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        try:
            status = main(arguments)
        except SystemExit as ended:  # as argparse ends
            status = int(str(ended.code))
        return Ended(status, *capsys.readouterr())

    return run


def test_a_new_key_and_its_entry_are_printed_and_work(tmp_path: Path, penstock: Run) -> None:
    """The key is the first line, once; the rest is an entry that lets it in."""
    output = penstock(*NEW, "--expires", "2099-06-01T00:00:00+00:00").out
    key, _, entry = output.partition("\n")
    assert output.count(key.split("_")[2]) == 1
    path = tmp_path / "keys.yaml"
    path.write_text(entry)
    principal, ends = ApiKeys(path).verify(key, NOW)
    assert (principal, ends) == (ALICE, datetime(2099, 6, 1, tzinfo=UTC).timestamp())


def test_entries_are_appended_to_a_file(tmp_path: Path, penstock: Run) -> None:
    """Only the key goes to stdout, the file is made for its owner alone, and comments in it stay."""
    path = tmp_path / "keys.yaml"
    keys = []
    for _ in range(2):
        ran = penstock(*NEW, "--file", str(path))
        keys.append(ran.out.strip())
        assert (ran.status, keys[-1] in ran.err) == (0, False)
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


def test_json_is_one_object(penstock: Run) -> None:
    """With --json the key and the entry come as JSON."""
    made = json.loads(penstock(*NEW, "--json").out)
    assert entry_hash(made["key"]) == made["entry"]["hash"]


def test_the_pepper_is_used_when_set(penstock: Run) -> None:
    """The environment that serves the key makes it."""
    made = json.loads(penstock(*NEW, "--json", pepper="sixteen bytes or more").out)
    assert entry_hash(made["key"], b"sixteen bytes or more") == made["entry"]["hash"]


def test_a_pepper_is_introduced(tmp_path: Path, penstock: Run) -> None:
    """One command puts it into every key of the file, again nothing; keys with and without it never mix."""
    path, pepper = tmp_path / "keys.yaml", "sixteen bytes or more"
    keys = [penstock(*NEW, "--file", str(path)).out.strip() for _ in range(2)]
    path.write_text("# ours\n" + path.read_text())
    early = penstock(*NEW, "--file", str(path), pepper=pepper)
    assert (2, "") == (early.status, early.out)
    assert f"first run penstock keys pepper --file {path}" in early.err
    for count in (2, 0):
        ran = penstock("keys", "pepper", "--file", str(path), pepper=pepper)
        assert f"{path}: the pepper was put into {count} of its keys" in ran.out
    keys.append(penstock(*NEW, "--file", str(path), pepper=pepper).out.strip())
    known = ApiKeys(path, pepper.encode())
    assert [ALICE] * 3 == [known.verify(key, NOW)[0] for key in keys]
    assert path.read_text().startswith("# ours\n")
    late = penstock(*NEW, "--file", str(path))
    assert (2, "") == (late.status, late.out)
    assert "set PENSTOCK_API_KEY_PEPPER" in late.err


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
def test_wrong_use_is_explained(arguments: list[str], why: str, penstock: Run) -> None:
    """Exit status 2, the reason on stderr, and no key that would not work."""
    ran = penstock(*arguments)
    assert (ran.status, ran.out, why in ran.err) == (2, "", True)
    assert "Traceback" not in ran.err


def test_a_hash_is_made_of_a_key_on_stdin(penstock: Run) -> None:
    """`keys hash` prints the hash alone, as JSON on request, and repeats no input that is not a key."""
    key = new_key()
    assert f"{entry_hash(key)}\n" == penstock("keys", "hash", stdin=key).out
    assert {"hash": entry_hash(key)} == json.loads(penstock("keys", "hash", "--json", stdin=f"{key}\n").out)
    refused = penstock("keys", "hash", stdin="hunter2\n")
    assert (refused.status, refused.out) == (2, "")
    assert "hunter2" not in refused.err


def test_a_process_of_its_own(tmp_path: Path) -> None:
    """A real environment, pipes and exit status: as a shell has it."""
    pepper = tmp_path / "pepper"
    pepper.write_text("sixteen bytes or more\n")
    pepper.chmod(0o600)
    key = new_key()
    command = [sys.executable, "-m", "gateway", "keys", "hash"]
    environ = {PEPPER_FILE: str(pepper)}
    ran = subprocess.run(command, input=key, env=environ, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (0, f"{entry_hash(key, b'sixteen bytes or more')}\n", "") == (ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.parametrize("command", ["new", "hash"])
def test_help_shows_an_example(command: str, penstock: Run) -> None:
    """Each command's --help ends with a command to copy."""
    ran = penstock("keys", command, "--help")
    assert (ran.status, f"penstock keys {command}" in ran.out.partition("example:")[2]) == (0, True)
