"""Tests of gateway.cli.router: prompts in, a router, its worth and a patch out."""

from __future__ import annotations

import csv
import io
import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.cli import main
from tests.gateway.prompts.synthetic import prompts


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, text = tmp_path_factory.mktemp("rows") / "rows.csv", io.StringIO()
    csv.writer(text).writerows([("prompt", "needs"), *zip(*prompts(300, 1), strict=True)])
    path.write_text(text.getvalue())
    return path


def told(rows: Path, *more: str) -> list[str]:
    return ["--rows", str(rows), "--text", "prompt", "--label", "needs", *more]


def test_a_router_is_trained_measured_and_asked(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed hash is the file's, and the file says of each text what it said when it was trained."""
    router = tmp_path / "difficulty.json"
    assert 0 == main(["router", "train", *told(rows, "--output", str(router), "--share", "30%", "--costs", "1,40")])
    printed = capsys.readouterr()
    assert f'sha256: "{sha256(router.read_bytes()).hexdigest()}", input: INPUT}}' in printed.out
    assert re.search(
        r"APGR 0\.\d{3} \(95 %: 0\.\d{3} to 0\.\d{3}\); drawing lots has 0\.5, knowing every gain 0\.7\d\d", printed.out
    )
    assert "← wanted" in printed.out
    assert "training six times" in printed.err
    assert 0 == main(["router", "measure", str(router), *told(rows, "--json")])
    assert json.loads(capsys.readouterr().out)["apgr"] > 0.65  # on what it was trained on
    assert 0 == main(["router", "score", str(router), "Prove a theorem of number theory"])
    hard = float(capsys.readouterr().out)
    assert 0 == main(["router", "score", str(router), "Spell the greetings"])
    assert float(capsys.readouterr().out) < 0.4 < hard


def test_the_same_rows_make_the_same_file(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Byte for byte, and JSON tells where."""
    names = []
    for name in ("a.json", "b.json"):
        assert 0 == main(["router", "train", *told(rows, "--output", str(tmp_path / name), "--words", "2", "--json")])
        names.append(json.loads(capsys.readouterr().out)["sha256"])
    assert names[0] == names[1]


def test_a_file_that_is_there_is_kept(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gateway may read it again at its next start."""
    (tmp_path / "r.json").write_text("mine")
    assert 1 == main(["router", "train", *told(rows, "--output", str(tmp_path / "r.json"))])
    assert "r.json is there already" in capsys.readouterr().err
    assert "mine" == (tmp_path / "r.json").read_text()


def test_a_router_that_no_gateway_would_read_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts without spaces make words of whole texts, and the file too large."""
    lines = [json.dumps({"text": chr(0x4E00 + number) * 19_000, "needs": number % 2}) for number in range(120)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    asked = ["--rows", str(tmp_path / "rows.jsonl"), "--label", "needs", "--characters", "20000"]
    assert 1 == main(["router", "train", *asked, "--output", str(tmp_path / "r.json")])
    assert "the router is larger than 4 MiB" in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["train", "--rows", "ROWS", "--output", "x.json"], 2, "say which column is the --label"),
        (["train", "--rows", "ROWS", "--label", "a", "--weak", "b", "--strong", "c", "--output", "x.json"], 2, "--label"),
        (["train", "--rows", "ROWS", "--pairs", "p.jsonl", "--weak", "b", "--output", "x.json"], 2, "--weak and --strong"),
        (
            ["train", "--rows", "ROWS", "--label", "needs", "--pairs", "p", "--weak", "b", "--strong", "c", "--output", "x"],
            2,
            "--label",
        ),
        (["train", "--rows", "missing.csv", "--label", "a", "--output", "x.json"], 2, "missing.csv: No such file"),
        (["train", "--rows", "ROWS", "--text", "promt", "--label", "needs", "--output", "x.json"], 1, "did you mean 'prompt'?"),
        (["measure", "ROWS", "--rows", "ROWS", "--label", "needs"], 1, "is no prompt router"),
        (["score", "missing.json", "text"], 2, "missing.json: No such file"),
    ],
)
def test_misuse_is_told(rows: Path, words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line, with the exit status that says whose mistake it was."""
    assert status == main(["router", *(str(rows) if word == "ROWS" else word for word in words)])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [["--share", "100%"], ["--share", "x"], ["--costs", "40,1"], ["--costs", "1"], ["--characters", "0"]]
)
def test_impossible_options_are_refused(option: list[str]) -> None:
    """By the command line itself."""
    with pytest.raises(SystemExit) as caught:
        main(["router", "train", "--rows", "x", "--label", "y", "--output", "z", *option])
    assert 2 == caught.value.code
