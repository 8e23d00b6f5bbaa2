"""`penstock policy test`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.policy import test as command

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
models:
  digits:
    variants: {fast: {backend: triton, model: f, cost: 1}, dear: {backend: triton, model: d, cost: 40}}
    routes:
      - {name: gold, match: {tier: gold}, use: dear}
      - {name: default, use: fast}
"""
GOOD = """tests:
  - {name: gold gets the best, request: {model: digits, principal: {tier: gold}}, expect: {route: gold, use: dear}}
  - {name: others do not, request: {model: digits}, expect: {route: default, use: fast}}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy whose tests hold and notice everything."""
    (tmp_path / "policy.yaml").write_text(POLICY + GOOD)
    return tmp_path / "policy.yaml"


def run(*arguments: str) -> int:
    """The exit status."""
    return main(["policy", "test", *arguments])


def test_all_hold(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each test; status 0, with mutants too."""
    assert 0 == run(str(policy))
    assert "✓ gold gets the best\n✓ others do not\n2 tests, all hold\n" == capsys.readouterr().out
    assert 0 == run("--mutate", str(policy))
    assert capsys.readouterr().out.endswith("2 rules, 7 mutants, all noticed\n")


def test_a_failure_is_explained(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where, what was expected, what came and why; status 1. Mutants wait until all hold."""
    policy.write_text(POLICY + GOOD.replace("use: dear}}", "use: fast}}").replace("{tier: gold}", "{tier: silver}"))
    assert 1 == run("--mutate", str(policy))
    assert """\
✗ gold gets the best  line 10
    expected  route 'gold', use 'fast'
    came      route 'default', use 'fast'
    because   route 'gold' is missed: tier is 'silver', wanted gold
✓ others do not
2 tests, 1 failed
mutants are tried when all tests hold
""" == capsys.readouterr().out  # fmt: skip


def test_no_tests(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Are no failure, but no rule is tested then."""
    policy.write_text(POLICY)
    assert 0 == run(str(policy))
    assert f"{policy} has no tests; write some under `tests:`\n" == capsys.readouterr().out
    assert 1 == run("--mutate", str(policy))
    assert "2 rules, 2 mutants, 2 not noticed" in capsys.readouterr().out


def test_what_nobody_notices(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rule, its line, what could be wrong with it, and a test to paste that makes it noticed."""
    policy.write_text(POLICY + "\n".join(GOOD.splitlines()[:2]) + "\n")
    assert 1 == run("--mutate", str(policy))
    said = capsys.readouterr().out
    assert "✗ digits: route gold  line 7\n    no test fails if 'tier gold' is left out\n" in said
    pasted = said.partition("these would fail, under `tests:`\n")[2].partition("\n\n")[0]
    policy.write_text(policy.read_text() + pasted + "\n")
    assert 0 == run("--mutate", str(policy))


def test_as_json(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything, for programs."""
    policy.write_text(POLICY + GOOD.replace("use: dear}}", "use: fast}}"))
    assert 1 == run("--json", str(policy))
    answer = json.loads(capsys.readouterr().out)
    assert (False, [False, True], [10, 11]) == (
        answer["ok"],
        [each["ok"] for each in answer["tests"]],
        [each["line"] for each in answer["tests"]],
    )
    assert "route 'gold', use 'fast'" == answer["tests"][0]["expected"]
    policy.write_text(POLICY)
    assert 1 == run("--json", "--mutate", str(policy))
    answer = json.loads(capsys.readouterr().out)
    assert [("gold", 7), ("default", 8)] == [(rule["route"], rule["line"]) for rule in answer["rules"]]
    assert "it is taken away" == answer["rules"][0]["survivors"][0]["said"]


def test_time_is_bounded(policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What could not be examined in time counts as untested, and people see that something goes on."""
    monkeypatch.setattr(command, "SILENCE", -1.0)
    assert 0 == run("--mutate", str(policy))
    assert "penstock policy test: 1 rule examined" in capsys.readouterr().err
    monkeypatch.setattr(command, "MUTATING_SECONDS", -1.0)
    assert 1 == run("--mutate", str(policy))
    assert "1 rule not examined" in capsys.readouterr().out


def test_files_that_cannot_be_used(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No such file is 2, a policy with mistakes 1."""
    assert 2 == run(str(policy.parent / "none.yaml"))
    assert "No such file" in capsys.readouterr().err
    policy.write_text(POLICY.replace("use: fast", "use: fats"))
    assert 1 == run(str(policy))
    assert "did you mean 'fast'?" in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """As every command's."""
    with pytest.raises(SystemExit):
        run("--help")
    assert "penstock policy test --mutate config/policy.yaml" in capsys.readouterr().out
