"""Tests of gateway.configuration.tables_prompts: routers as values, and their files read as the policy means them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from gateway.compile import blueprint
from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_prompts import Scored
from gateway.configuration.tables import route_tables
from gateway.configuration.tables_prompts import prompts_of, scorers
from routing.match import Range
from routing.prompt.file import RouterFile, write_router
from routing.prompt.scorer import PromptRouter, Term
from tests.gateway.configuration.test_checks_prompts import policy

CONTENT = write_router(RouterFile(1, 10, 2000, 0.0, (Term("prove", 1, 3.0),)))
SHA = sha256(CONTENT).hexdigest()
HARD = "prompt: {difficulty: {at_least: 0.62}}"


def routed(sha: str = SHA) -> bytes:
    return policy(HARD, f"{{difficulty: {{file: d.json, sha256: {sha}, input: text}}}}")


def test_scores_become_whole_millionths() -> None:
    """Both ends included, as every range of the routing."""
    wanted = {"b": Scored(0.62), "a": Scored(None, 0.3), "c": Scored(0.1, 0.2)}
    expected = (("a", Range(0, 299_999)), ("b", Range(620_000)), ("c", Range(100_000, 199_999)))
    assert expected == prompts_of(wanted)


def test_a_table_knows_its_routers_by_their_hash() -> None:
    """So that another file is another table, and another epoch of what is kept."""
    one, other = (route_tables(load_policy(routed(sha), "p"))["chat"] for sha in (SHA, "a" * 64))
    assert (PromptRouter("difficulty", "text", SHA),) == one.routers
    assert one != other
    kept = [policy_with_cache(sha) for sha in (SHA, "a" * 64)]
    assert kept[0] != kept[1]


def policy_with_cache(sha: str) -> bytes:
    text = routed(sha).replace(b"    routes:", b"    cache: {ttl: 1m}\n    routes:")
    cache = route_tables(load_policy(text, "p"))["chat"].cache
    assert cache is not None
    return cache.epoch


def test_whoever_serves_has_read_the_file(tmp_path: Path) -> None:
    """From the policy's own folder; the looks of the model can score."""
    (tmp_path / "d.json").write_bytes(CONTENT)
    looks = blueprint(routed(), "p.yaml", tmp_path).routings["chat"].looks
    assert looks is not None
    assert [SHA] == list(scorers(load_policy(routed(), "p"), tmp_path, routed(), "p"))
    assert looks.routers[0].scorer is not None
    assert 952_574 == looks.routers[0].scorer.highest(["prove"])


@pytest.mark.parametrize(
    ("content", "sha", "said"),
    [
        (None, SHA, "d.json: No such file or directory"),
        (CONTENT + b" ", SHA, "d.json has another content than the policy's sha256 says"),
        (b"{}", sha256(b"{}").hexdigest(), "d.json is no prompt router: Object missing required field"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes | None, sha: str, said: str) -> None:
    """At the policy's line, before anything of it is in force."""
    if content is not None:
        (tmp_path / "d.json").write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        blueprint(routed(sha), "p.yaml", tmp_path)
    assert str(caught.value).startswith("p.yaml:8: models.chat.routers.difficulty.file: ")
    assert said in str(caught.value)


def test_a_folder_is_no_router(tmp_path: Path) -> None:
    """Nor is anything else that is no file."""
    (tmp_path / "d.json").mkdir()
    with pytest.raises(PolicyError, match="a directory, not a file"):
        blueprint(routed(), "p.yaml", tmp_path)


def test_what_is_in_force_needs_no_file(tmp_path: Path) -> None:
    """While a policy holds a router, its hash alone is enough: for a worker that starts later, and for a rollback."""
    (tmp_path / "d.json").write_bytes(CONTENT)
    held = blueprint(routed(), "p.yaml", tmp_path)
    (tmp_path / "d.json").unlink()
    again = blueprint(routed(), "p.yaml", tmp_path)
    assert (held.routings["chat"].looks, held.version) == (again.routings["chat"].looks, again.version)
    del held, again
    with pytest.raises(PolicyError, match="No such file"):
        blueprint(routed(), "p.yaml", tmp_path)
