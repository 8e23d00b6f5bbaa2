"""Rows as they are judged: by whom it is known who was right, what counts as a label and as a confidence, and joined pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gateway.calibrate.reading import RowsError
from gateway.calibrate.rows import gather, named
from tests.gateway.calibrate.answers import pair, rows, write

COLUMNS = {"fast": "fast", "accurate": "accurate"}


def test_labelled_rows(tmp_path: Path) -> None:
    """Who has the label of `truth` was right; the order stays."""
    made = rows(200)
    found = gather([write(tmp_path / "r.csv", made)], COLUMNS)
    assert ("truth", (200, 2), (200, 1)) == (found.told, found.right.shape, found.score.shape)
    assert [each["fast_label"] == each["truth"] for each in made] == found.right[:, 0].tolist()
    assert [each["fast_confidence"] for each in made] == found.score[:, 0].tolist()
    assert [str(each["fast_label"]) for each in made] == found.label[:, 0].tolist()
    assert ["fast", "balanced", "accurate"] == named([tmp_path / "r.csv"])


def test_the_dearest_is_the_truth(tmp_path: Path) -> None:
    """Where no truth is told: it is always right, and the cheaper ones where they agree with it."""
    made = rows(200)
    found = gather([write(tmp_path / "r.csv", made, without=("truth", "accurate_confidence"))], COLUMNS)
    assert ("dearest", True) == (found.told, bool(found.right[:, 1].all()))
    assert [each["fast_label"] == each["accurate_label"] for each in made] == found.right[:, 0].tolist()
    assert found.at([1, 40]).truth


def test_somebody_else_has_judged(tmp_path: Path) -> None:
    """`_correct` of every stage goes before `truth`, and then no labels are needed."""
    made = [{**each, "fast_correct": index % 2, "accurate_correct": "true"} for index, each in enumerate(rows(200))]
    found = gather([write(tmp_path / "r.csv", made, without=("fast_label", "accurate_label"))], COLUMNS)
    assert ("correct", {""}) == (found.told, set(found.label[:, 0].tolist()))
    assert [index % 2 == 1 for index in range(200)] == found.right[:, 0].tolist()


def test_other_names_and_several_files(tmp_path: Path) -> None:
    """Columns may begin otherwise than the stage is called; files are read one after the other."""
    files = [write(tmp_path / f"{seed}.csv", rows(100, seed)) for seed in (1, 2)]
    assert (200, 2) == gather(files, {"s0": "fast", "s1": "balanced"}).right.shape


def test_classes_are_the_same_class_however_they_are_written(tmp_path: Path) -> None:
    """7 and 7.0 and "7": JSON, Parquet and CSV differ in it."""
    made = [{"truth": 7, "fast_label": 7.0, "fast_confidence": 0.5, "accurate_label": " 7 "} for _ in range(100)]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, made)))
    found = gather([tmp_path / "r.jsonl"], COLUMNS)
    assert found.right.all()
    assert {"7"} == set(found.label.ravel().tolist())


def test_no_confidence(tmp_path: Path) -> None:
    """An empty cell is a row that is never sure; a model that never says is worth nothing."""
    made = rows(100)
    found = gather([write(tmp_path / "r.csv", [{**made[0], "fast_confidence": ""}, *made[1:]])], COLUMNS)
    assert np.isnan(found.score[0, 0])
    with pytest.raises(RowsError, match="fast has no confidence in any row"):
        gather([write(tmp_path / "r.csv", [{**each, "fast_confidence": ""} for each in made])], COLUMNS)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("fast_confidence", "nan", "r.csv:4: fast_confidence: 'nan' is not a number; .* leave it empty"),
        ("fast_confidence", "inf", "'inf' is not a number"),
        ("fast_confidence", "1e999", "'1e999' is not a number"),
        ("fast_confidence", "0,93", r"'0,93' is not a number.* did you mean '0\.93'"),
        ("fast_confidence", "<script>", "'<script>' is not a number"),
        ("fast_label", "", "r.csv:4: fast_label: is empty"),
        ("truth", "", "r.csv:4: truth: is empty"),
        ("fast_label", "x" * 300, "300 characters are no label; .*fast_correct, accurate_correct"),
    ],
)
def test_cells_that_say_nothing(tmp_path: Path, column: str, cell: str, message: str) -> None:
    """Are refused with their line and column."""
    made = rows(100)
    with pytest.raises(RowsError, match=message):
        gather([write(tmp_path / "r.csv", [*made[:2], {**made[2], column: cell}, *made[3:]])], COLUMNS)


def test_what_is_not_there(tmp_path: Path) -> None:
    """A missing column, with the nearest that there is; a file of no rows, or of too few."""
    file = write(tmp_path / "r.csv", [{"fast_labels": 1, **each} for each in rows(100)], without=("fast_label",))
    with pytest.raises(RowsError, match=r"r.csv:1: there is no column 'fast_label'; .* did you mean 'fast_labels'"):
        gather([file], COLUMNS)
    file.write_text("truth,fast_label\n")
    with pytest.raises(RowsError, match="there is no row"):
        gather([file], COLUMNS)
    with pytest.raises(RowsError, match=r"r.csv: 89 rows; of fewer than 90 nothing can be said"):
        gather([write(file, rows(89))], COLUMNS)
    made = [{**rows(1)[0]} for _ in range(100)]
    del made[5]["fast_confidence"]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, made)))
    with pytest.raises(RowsError, match=r"r.jsonl:6: fast_confidence: is missing here"):
        gather([tmp_path / "r.jsonl"], COLUMNS)


def test_recorded_pairs_are_joined(tmp_path: Path) -> None:
    """Lines of one row of one request; rows that a stage has not answered are left out, and counted."""
    made = rows(120)
    told = [pair(each, number, "accurate", "fast") for number, each in enumerate(made)]
    told += [pair(each, number, "accurate", "balanced") for number, each in enumerate(made[:100])]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, told)))
    found = gather([tmp_path / "r.jsonl"], {"fast": "fast", "balanced": "balanced", "accurate": "accurate"})
    assert ("dearest", 100, 100, 20) == (found.told, len(found.right), found.questions, found.partial)
    assert [each["balanced_confidence"] for each in made[:100]] == found.score[:, 1].tolist()
    assert ["accurate", "fast", "balanced"] == named([tmp_path / "r.jsonl"])


def test_pairs_of_several_models(tmp_path: Path) -> None:
    """Only one model's count, and it must be said which, since its variants may be called as another's."""
    told = [pair(each, number, "accurate", "fast") for number, each in enumerate(rows(200))]
    told = [{**each, "model": "digits" if number < 120 else "letters"} for number, each in enumerate(told)]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, told)))
    assert 120 == len(gather([tmp_path / "r.jsonl"], COLUMNS, model="digits").right)
    with pytest.raises(RowsError, match=r"pairs of the models digits, letters: say which \(--model\)"):
        gather([tmp_path / "r.jsonl"], COLUMNS)
    with pytest.raises(RowsError, match="no pairs of model 'digit'; there are those of digits, letters"):
        gather([tmp_path / "r.jsonl"], COLUMNS, model="digit")


def test_versions_mixed(tmp_path: Path) -> None:
    """Are noticed: a promise is for the models that answered."""
    told = [pair(each, number, "accurate", "fast") for number, each in enumerate(rows(100))]
    told[50]["fast_version"] = "2"
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, told)))
    assert ("fast",) == gather([tmp_path / "r.jsonl"], COLUMNS).mixed


@pytest.mark.parametrize("column", ["model", "request", "row"])
def test_recorded_pairs_that_do_not_say_whose_they_are(tmp_path: Path, column: str) -> None:
    """Are refused with their line, also where a list stands there."""
    told = [pair(each, number, "accurate", "fast") for number, each in enumerate(rows(100))]
    told[50][column] = ["x"]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, told)))
    with pytest.raises(RowsError, match=f"r.jsonl:51: {column}: is missing here"):
        gather([tmp_path / "r.jsonl"], COLUMNS)


def test_labels_that_no_document_can_hold(tmp_path: Path) -> None:
    """JSON can spell half of a character."""
    made = [*rows(99), {**rows(1)[0], "fast_label": "\ud800"}]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, made)))
    with pytest.raises(RowsError, match=r"r.jsonl:100: fast_label: '\\ud800' is no text"):
        gather([tmp_path / "r.jsonl"], COLUMNS)


def test_a_request_id_that_comes_twice(tmp_path: Path) -> None:
    """Clients choose ids: two lines that contradict each other are two rows, never one made of both."""
    made = rows(100)
    told = [pair(each, 7, "accurate", "fast") for each in made]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, told)))
    found = gather([tmp_path / "r.jsonl"], COLUMNS)
    assert (100, 1) == (len(found.right), found.questions)
    assert [each["fast_confidence"] for each in made] == found.score[:, 0].tolist()


def test_a_recorded_line_that_is_there_again(tmp_path: Path) -> None:
    """A copy of the file lies beside it, and the names' pattern finds both: no row counts twice."""
    told = [pair(each, number, "accurate", "fast") for number, each in enumerate(rows(100))]
    for name in ("r.jsonl", "copy.jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, told)))
    assert 100 == len(gather([tmp_path / "r.jsonl", tmp_path / "copy.jsonl"], COLUMNS).right)
