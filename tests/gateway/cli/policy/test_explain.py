"""`penstock policy explain`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.cli import main

POLICY = """version: 1
backends: {triton: {protocol: triton-http, endpoints: [127.0.0.1:8000]}}
aliases: {mnist: digits}
models:
  digits:
    variants: {fast: {backend: triton, model: f, cost: 1}, dear: {backend: triton, model: d, cost: 40}}
    routers: {hard: {file: r.json, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, input: text}}
    routes:
      - {name: gold, match: {tier: gold, rows: 2..}, use: dear}
      - name: everything
        match:
          tenant: acme
          scope: extra
          version: "3"
          header: {x-a: "1"}
          parameter: {p: true, q: 2.5, r: text}
          bytes: 1MiB..
          priority: ..3
          text_length: {text: 5..}
          prompt: {hard: {at_least: 0.62}}
        use: dear
      - {name: default, use: fast}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy with a route for every kind of condition."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path / "policy.yaml"


def run(policy: Path, *arguments: str) -> int:
    """The exit status."""
    return main(["policy", "explain", "--policy", str(policy), *arguments])


def test_a_request_in_words(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Answered: status 0, and the text says by whom and why."""
    assert 0 == run(policy, "--model", "mnist", "--tier", "gold", "--rows", "2")
    said = capsys.readouterr().out
    assert "'mnist' is an alias of 'digits'" in said
    assert "✓ gold        tier gold and rows 2.." in said
    assert "dear (triton: d), 40 a row" in said
    assert "\x1b" not in said


def test_every_option_reaches_the_routes(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes as people write them, parameters by kind."""
    words = "--model digits --tenant acme --subject ann --scope models:infer --scope extra --model-version 3 --header X-A=1"
    more = (
        "--parameter p=true --parameter q=2.5 --parameter r=text --bytes 1MiB --priority 3 --text-length text=5"
        " --prompt hard=0.62 --request-id r1"
    )
    assert 0 == run(policy, "--json", *words.split(), *more.split())
    answer = json.loads(capsys.readouterr().out)
    assert {"policy", "request", "model", "checks", "routes", "split", "answers", "refused", "limits", "holdout"} == answer.keys()
    assert ["everything"] == [each["route"] for each in answer["answers"]]
    assert "ann" == answer["request"]["principal"]["subject"]
    assert 0 == run(policy, *words.split(), *more.split(), "--prompt", "hard=0.3")
    assert "prompt.hard is 0.3, wanted at least 0.62" in capsys.readouterr().out
    assert 0 == run(policy, "--json", *words.split(), *more.split(), "--bytes", "1048575")
    assert ["default"] == [each["route"] for each in json.loads(capsys.readouterr().out)["answers"]]


def test_a_request_in_a_file(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said beside it counts more."""
    (tmp_path / "request.json").write_text('{"model": "digits", "principal": {"tier": "gold"}, "rows": 2}')
    assert 0 == run(policy, str(tmp_path / "request.json"), "--json", "--tier", "free")
    answer = json.loads(capsys.readouterr().out)
    assert ("free", 2) == (answer["request"]["principal"]["tier"], answer["request"]["rows"])


def test_a_request_on_stdin(policy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`-` reads it; mistakes have its name and their line."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"model": "digits",\n "prority": 3}')))
    assert 2 == run(policy, "-")
    assert "stdin:2: prority: unknown key 'prority' — did you mean 'priority'?\n" == capsys.readouterr().err


def test_refused(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1, with what the client hears."""
    assert 1 == run(policy, "--model", "digit")
    said = capsys.readouterr().out
    assert "unknown model 'digit' — did you mean 'digits'?" in said
    assert "404, X-Penstock-Error: not-found" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "say which request"),
        (["--model", "digits", "--rows", "many"], "penstock policy explain: rows: 'many' is not a whole number"),
        (
            ["--model", "digits", "--bytes", "3MB"],
            "explain: bytes: unknown unit 'MB'; a size is counted in B, KiB, MiB or GiB — did you mean '3MiB'?",
        ),
        (["--model", "digits", "--bytes", "-1"], "explain: bytes: '-1' is not a whole number of at least 0"),
        (["--tier", "gold"], "penstock policy explain: 'model' is missing"),
        (["nowhere.json"], "nowhere.json: No such file"),
    ],
)
def test_used_wrongly(policy: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and one line that says how."""
    assert 2 == run(policy, *words)
    assert complaint in capsys.readouterr().err


def test_a_pair_without_a_value(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is the command line's mistake."""
    with pytest.raises(SystemExit) as ended:
        run(policy, "--model", "digits", "--header", "x-a")
    assert 2 == ended.value.code
    assert "is not NAME=VALUE" in capsys.readouterr().err


def test_a_policy_that_cannot_be_used(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Explains nothing: status 1, with its mistakes. One whose own tests fail is explained: that is how they are mended."""
    policy.write_text(POLICY.replace("use: fast", "use: fats"))
    assert 1 == run(policy, "--model", "digits")
    assert "did you mean 'fast'?" in capsys.readouterr().err
    policy.write_text(POLICY + "tests: [{name: wrong, request: {model: digits}, expect: {use: dear}}]\n")
    assert 0 == run(policy, "--model", "digits")


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """As every command's."""
    with pytest.raises(SystemExit):
        main(["policy", "explain", "--help"])
    assert "penstock policy explain --model digits --tier free" in capsys.readouterr().out
