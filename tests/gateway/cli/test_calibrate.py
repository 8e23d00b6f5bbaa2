"""`penstock calibrate` as somebody with a file of answers uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import main
from tests.gateway.calibrate.answers import POLICY, pair, rows, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs: rows.csv, policy.yaml and prices.csv are there."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.csv", rows())
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "prices.csv").write_text("name,price\nfast,1\naccurate,40\n")
    return tmp_path


def calibrate(*words: str) -> int:
    return main(["calibrate", *words])


def test_from_rows_to_a_policy_that_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The patched policy is another file, passes `penstock policy check`, and differs in the cascade alone."""
    words = [
        "rows.csv",
        "--policy",
        "policy.yaml",
        "--keep",
        "97%",
        "--html",
        "r.html",
        "--patch",
        "p.yaml",
        "--patched",
        "new.yaml",
    ]
    assert 0 == calibrate(*words)
    said = capsys.readouterr()
    assert "CERTIFIED  accept fast 0." in said.out
    assert "at least 97 % of accurate's quality, with 95 % confidence" in said.out
    assert "this holds for traffic like these rows" in said.out
    assert "written: r.html\nwritten: p.yaml\nwritten: new.yaml\n" == said.err
    assert POLICY == (folder / "policy.yaml").read_text()
    assert (folder / "r.html").read_text().startswith("<!doctype html>")
    assert (folder / "p.yaml").read_text().startswith("# penstock calibrate rows.csv: accept fast 0.")
    assert 0 == main(["policy", "check", "new.yaml"])
    assert 1 == main(["policy", "diff", "policy.yaml", "new.yaml"])
    assert "models.digits.routes" in capsys.readouterr().out


def test_the_patch_is_printed_where_no_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under the names it stands under; `--json` has it, too, beside every figure."""
    assert 0 == calibrate("rows.csv", "--policy", "policy.yaml", "--keep", "0.97")
    assert "\nmodels:\n  digits:\n    routes:\n      - name: default\n        cascade:\n" in capsys.readouterr().out
    assert 0 == calibrate("rows.csv", "--policy", "policy.yaml", "--keep", "0.97", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["patch"].startswith("# penstock calibrate")
    assert found["certified"]["lower"] >= 0.97
    assert found["stages"][0]["accept"] == found["certified"]["cuts"][0]


def test_without_a_policy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prices are enough for the figures; for a patch it says what is missing."""
    assert 0 == calibrate("rows.csv", "--stages", "fast,accurate", "--prices", "prices.csv", "--keep", "97%")
    assert capsys.readouterr().out.endswith("for a patch give --policy, the document whose route these thresholds are for\n")


def test_the_answer_is_no(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1, and the reason; nothing is patched."""
    assert 1 == calibrate("rows.csv", "--policy", "policy.yaml", "--keep", "99.99%", "--patched", "new.yaml")
    assert "NOTHING CERTIFIED  ask accurate directly: " in capsys.readouterr().out
    assert not (folder / "new.yaml").exists()


def test_a_patch_that_cannot_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report is there all the same; where the policy's own tests know better they are told with the patch."""
    words = [
        "rows.csv",
        "--policy",
        "policy.yaml",
        "--route",
        "vip",
        "--stages",
        "fast,accurate",
        "--keep",
        "97%",
        "--patch",
        "p.yaml",
    ]
    assert 2 == calibrate(*words)
    said = capsys.readouterr()
    assert said.out.startswith("CERTIFIED")
    assert "which output tells how sure an answer is" in said.err
    assert 0 == calibrate(*words, "--output", "probabilities")
    assert "test 'vips ask the dearest' fails" in capsys.readouterr().err
    assert (folder / "p.yaml").exists()


def test_recorded_pairs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What shadows have recorded, as it lies there; the dearest's answers are the truth, and that is said."""
    told = [pair(each, number, "accurate", "fast") for number, each in enumerate(rows(3000))]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, told)))
    assert 0 == calibrate("pairs.jsonl", "--policy", "policy.yaml", "--keep", "95%")
    assert "stricter wish" in capsys.readouterr().out


def test_anytime(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first so many rows fit; it takes more rows than reading once."""
    write(folder / "rows.csv", rows(6000))
    assert 0 == calibrate("rows.csv", "--policy", "policy.yaml", "--keep", "95%", "--anytime", "1000", "--json")
    found = json.loads(capsys.readouterr().out)
    assert (1000, 5000, 1000) == (found["fit_rows"], found["certify_rows"], found["anytime"])


def test_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a row, and from a pilot."""
    assert 0 == calibrate("--plan", "--json")
    alone = json.loads(capsys.readouterr().out)
    assert 0 == calibrate("--plan", "--json", "rows.csv", "--policy", "policy.yaml")
    assert json.loads(capsys.readouterr().out)["labels"] > alone["labels"] > 600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name files of rows"),
        (["gone.csv"], "gone.csv: No such file or directory"),
        (["."], "Is a directory"),
        (["rows.csv"], "what does a row cost at fast?"),
        (["rows.csv", "--prices", "prices.csv", "--stages", "fast"], "a cascade of 1 stages"),
        (["rows.csv", "--policy", "rows.csv"], "the policy cannot be used"),
        (["rows.csv", "--policy", "policy.yaml", "--model", "digit"], "did you mean 'digits'"),
        (["rows.csv", "--policy", "policy.yaml", "--column", "fast"], "write STAGE=NAME"),
        (["rows.csv", "--patched", "new.yaml"], "give --policy, too"),
        (["rows.csv", "--policy", "policy.yaml", "--patched", "./policy.yaml"], "is the policy itself"),
        (["rows.csv", "--policy", "policy.yaml", "--anytime", "5000"], "5000 of 1500 rows to fit"),
        (["policy.yaml", "--prices", "prices.csv"], "no column is called <stage>_label"),
        (["rows.csv", "--policy", "policy.yaml", "--confidence", "99.99%"], "delta between"),
        (["rows.csv", "./rows.csv", "--policy", "policy.yaml"], "rows.csv is named twice"),
        (["rows.csv", "--policy", "policy.yaml", "--stages", "fast,fast,accurate"], "fast is named twice"),
    ],
)
def test_used_wrongly(folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and in a sentence what would be right; no file is touched."""
    assert 2 == calibrate(*words)
    assert said in capsys.readouterr().err
    assert {"rows.csv", "policy.yaml", "prices.csv"} == {each.name for each in folder.iterdir()}
    assert POLICY == (folder / "policy.yaml").read_text()


@pytest.mark.parametrize("words", [["--keep", "99"], ["--keep", "all"], ["--confidence", "0"], ["--anytime", "3"]])
def test_numbers_out_of_range(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Are refused with how they are written."""
    with pytest.raises(SystemExit) as stopped:
        calibrate("rows.csv", *words)
    assert 2 == stopped.value.code
    assert words[1] in capsys.readouterr().err
