"""Tests of gateway.prompts.rows: what files say becomes prompts, or is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gateway.calibrate.reading import RowsError
from gateway.prompts.rows import Columns, Prompts, check_enough, gather, recorded

LABELLED, JUDGED = Columns("prompt", label="needs"), Columns("prompt", weak="small", strong="large")


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, "utf-8")
    return path


def test_labels_and_qualities_become_gains(tmp_path: Path) -> None:
    """strong, 1 and true are 1; of two qualities it is the difference, which may be less than nothing."""
    labels = written(tmp_path, "a.csv", "prompt,needs\nProve it,strong\nHi,0\n")
    more = written(tmp_path, "b.jsonl", '{"prompt": "Wéi\\ud800", "needs": true}\n{"prompt": "x", "needs": 1.0}\n')
    found = gather([labels, more], LABELLED)
    assert ["Prove it", "Hi", "Wéi???", "x"] == [text.replace("\ufffd", "?") for text in found.texts]
    assert [1, 0, 1, 1] == found.gains.tolist()
    judged = written(tmp_path, "c.csv", "prompt,small,large\none,0.25,1\ntwo,true,false\n")
    assert [0.75, -1.0] == gather([judged], JUDGED).gains.tolist()
    assert [True, False] == gather([judged], JUDGED).needed.tolist()


def test_parquet_is_read(tmp_path: Path) -> None:
    """As every other file of rows is."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"prompt": ["one", "two"], "needs": ["weak", "strong"]}), tmp_path / "rows.parquet")
    assert [0, 1] == gather([tmp_path / "rows.parquet"], LABELLED).gains.tolist()


@pytest.mark.parametrize(
    ("row", "columns", "why"),
    [
        ({"prompt": "a", "need": 1}, LABELLED, "rows.jsonl:1: there is no column 'needs'; there are prompt, need"),
        ({"prompt": 3, "needs": 1}, LABELLED, "rows.jsonl:1: prompt: '3' is no text"),
        ({"prompt": "a", "needs": "srong"}, LABELLED, "needs: 'srong' is neither strong nor weak — did you mean 'strong'?"),
        ({"prompt": "a", "needs": None}, LABELLED, "neither strong nor weak"),
        ({"prompt": "a", "small": "good", "large": 1}, JUDGED, "small: 'good' is no quality"),
        ({"prompt": "a", "small": "nan", "large": 1}, JUDGED, "is no quality"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, row: dict[str, object], columns: Columns, why: str) -> None:
    """With file, line, column and what was meant."""
    with pytest.raises(RowsError) as caught:
        gather([written(tmp_path, "rows.jsonl", json.dumps(row) + "\n")], columns)
    assert why in str(caught.value)


@pytest.mark.parametrize(("rows", "strong"), [(99, 40), (500, 9), (500, 491)])
def test_too_few_rows_are_refused(rows: int, strong: int) -> None:
    """In all, or of one kind."""
    prompts = Prompts(["text"] * rows, (np.arange(rows) < strong).astype(float))
    with pytest.raises(RowsError, match="a router needs 100"):
        check_enough(prompts)
    check_enough(Prompts(["text"] * 100, (np.arange(100) < 10).astype(float)))


def test_recorded_pairs_label_prompts_that_come_from_elsewhere(tmp_path: Path) -> None:
    """Strong where the two variants answered otherwise; prompts that were not mirrored are left out, unknown variants refused."""
    lines = [
        {"request": "r1", "row": 0, "small_label": "a", "large_label": "b", "model": "chat"},
        {"request": "r1", "row": 1, "small_label": "a", "large_label": "a", "model": "chat"},
        {"request": "r2", "row": 0, "small_label": "a", "other_label": "b", "model": "chat"},
        {"request": "r3", "row": 0, "small_label": "c", "large_label": "c", "model": "chat"},
    ]
    pairs = written(tmp_path, "pairs.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    found = recorded([pairs], "small", "large")
    assert {("r1", 0): True, ("r1", 1): False, ("r3", 0): False} == found
    texts = written(tmp_path, "texts.csv", "request,row,prompt\nr1,0,one\nr1,1,two\nr2,0,three\nr3,,four\nr9,0,five\n")
    prompts = gather([texts], Columns("prompt", pairs=found))
    assert (["one", "two", "four"], [1, 0, 0]) == (prompts.texts, prompts.gains.tolist())
    with pytest.raises(RowsError, match="no recorded row has an answer of both 'small' and 'larger'"):
        recorded([pairs], "small", "larger")
    with pytest.raises(RowsError, match=r"texts\.csv:2: row: 'x' is no row"):
        gather([written(tmp_path, "texts.csv", "request,row,prompt\nr1,x,one\n")], Columns("prompt", pairs=found))
