"""Files of rows: what they hold comes out, what is wrong in them is said with its place, and nothing of them fills the memory."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.calibrate.reading import RowsError, read

CSV = b'truth,fast_label,fast_confidence\n1,1,0.5\n\n2,"a,b",0.25\n'


def rows(folder: Path, content: bytes) -> list[tuple[int, dict[str, object]]]:
    file = folder / "rows"
    file.write_bytes(content)
    return [(line, dict(cells)) for line, cells in read(file)]


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_csv(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    """Rows with the lines they stand on, packed or not, with a mark of byte order or not."""
    expected = [
        (2, {"truth": "1", "fast_label": "1", "fast_confidence": "0.5"}),
        (4, {"truth": "2", "fast_label": "a,b", "fast_confidence": "0.25"}),
    ]
    assert expected == rows(tmp_path, packed(CSV))
    assert expected == rows(tmp_path, packed(b"\xef\xbb\xbf" + CSV))


def test_json_lines(tmp_path: Path) -> None:
    """Each an object; empty lines are passed over, and lists and objects in it."""
    assert [(1, {"a": 1, "b": None}), (3, {"a": 2.5})] == rows(
        tmp_path, b'{"a": 1, "b": null}\n\n{"a": 2.5, "c": [1], "d": {}}\n'
    )


def test_parquet(tmp_path: Path) -> None:
    """Its plain columns; lists and structures are passed over."""
    arrow = pytest.importorskip("pyarrow")
    file = tmp_path / "rows.parquet"
    table = arrow.table({"truth": [1, 2], "fast_label": ["1", None], "fast_confidence": [0.5, float("nan")], "raw": [[1], [2]]})
    pytest.importorskip("pyarrow.parquet").write_table(table, file)
    (_, first), (line, second) = read(file)
    assert {"truth": 1, "fast_label": "1", "fast_confidence": 0.5} == first
    assert (2, None) == (line, second["fast_label"])
    file.write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")
    with pytest.raises(RowsError, match="not readable as Parquet"):
        list(read(file))


def test_parquet_without_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RowsError, match=r"pip install 'penstock\[offline\]'"):
        rows(tmp_path, b"PAR1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "rows:1: the file is empty"),
        (bytes(range(256)) * 40, "rows:1: not text in UTF-8"),
        (b"a,b\n1,2\n\xff\xfe,3\n", "rows:3: not text in UTF-8"),
        (gzip.compress(CSV * 99, mtime=0)[:-20], "rows:.*: the packed file is damaged"),
        (b"\x1f\x8bno gzip", "rows:1: the packed file is damaged"),
        (b"a,b\n1,2\n1,2,3\n", "rows:3: 3 cells, and the first line names 2 columns"),
        (b"a,a\n1,2\n", "'a' is the name of two columns"),
        (b"a;b\n1;2\n", "columns are separated by commas"),
        (b'a,b\n"1"x,2\n', "rows:2: not CSV"),
        (b",".join(b"c%d" % n for n in range(600)) + b"\n", "600 columns; at most 512"),
        (b'{"a": 1}\n[1]\n', "rows:2: not an object of JSON"),
        (b'{"a": 1}\n{"a": \n', "rows:2: not an object of JSON in one line"),
        (b'{"a": NaN}\n', "rows:1: .*NaN is no JSON.* write null"),
        (b'{"a": ' + b"[" * 100_000 + b"\n", "rows:1: not an object of JSON"),
        (b"a,b\n" + b"1" * (2 << 20) + b"\n", "rows:2: a line of more than 1 MiB"),
        (b'a,b\n"1,2\n' + b"3,4\n" * 9, "rows:.*: not CSV"),
    ],
)
def test_what_is_no_file_of_rows(tmp_path: Path, content: bytes, message: str) -> None:
    """Is refused with the line, and what would be right where that can be known."""
    with pytest.raises(RowsError, match=message):
        rows(tmp_path, content)


def test_a_packed_file_that_never_ends(tmp_path: Path) -> None:
    """Is given up where it is too much, whatever its size on the disk."""
    file = tmp_path / "rows.gz"
    file.write_bytes(gzip.compress(b"a,b\n" + (b"1," + b"2" * 998 + b"\n") * 2000))
    with pytest.raises(RowsError, match="more than 1 MiB: this is no file of rows"):
        list(read(file, 1 << 20))


def test_a_pipe(tmp_path: Path) -> None:
    """Is refused at once, though nobody writes into it: rows are read twice."""
    os.mkfifo(tmp_path / "rows")
    with pytest.raises(RowsError, match="a pipe or a device"):
        list(read(tmp_path / "rows"))


def test_numbers_of_json_are_numbers(tmp_path: Path) -> None:
    """And one too large for any is infinite, which whoever reads confidences refuses."""
    ((_, cells),) = rows(tmp_path, json.dumps({"a": True, "b": 7}).encode() + b"\n")
    assert {"a": True, "b": 7} == cells
