"""Reading samples: any number of files, packed or not, damaged in places; whatever is none is said to be what it is."""

from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import pytest

from gateway.review.traffic.log import LOOK_EVERY, LogError, Tally, read_samples, total_bytes
from gateway.telemetry.access_log import encode
from gateway.telemetry.record import RequestRecord
from gateway.telemetry.sample import MAX_LINE
from tests.gateway.review.recorded import sample, written


def test_several_files_packed_or_not(tmp_path: Path) -> None:
    """In the order given, with when they begin and end."""
    plain = written(tmp_path / "a.jsonl", sample(time=5.0), sample(time=3.0))
    packed = tmp_path / "b.jsonl.1.gz"
    packed.write_bytes(gzip.compress(msgspec.json.encode(sample(time=9.0)) + b"\n"))
    tally = Tally()
    assert [5.0, 3.0, 9.0] == [each.time for each in read_samples([plain, packed], tally)]
    assert (3, 0, 3.0, 9.0) == (tally.samples, tally.damaged, tally.begin, tally.end)
    assert plain.stat().st_size + packed.stat().st_size == total_bytes([plain, packed])


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"{}\xff\n",
        b"\x00" * 9,
        b"x" * (3 * MAX_LINE),
        msgspec.json.encode(sample(salt="zz")),
        msgspec.json.encode(sample(share=0.0)),
        msgspec.json.encode(sample())[:-9],
        b"[]",
    ],
)
def test_damaged_lines_are_left_out_and_counted(tmp_path: Path, damage: bytes) -> None:
    """What stands before and behind them is read; the first is named."""
    good = msgspec.json.encode(sample()) + b"\n"
    path = tmp_path / "samples.jsonl"
    path.write_bytes(good + damage.rstrip(b"\n") + b"\n" + good)
    tally = Tally()
    assert 2 == len(list(read_samples([path], tally)))
    assert tally.damaged >= 1
    assert f"{path}:2" == tally.where


def test_a_packed_file_that_breaks_off(tmp_path: Path) -> None:
    """What could be unpacked is read."""
    lines = b"".join(msgspec.json.encode(sample(request_id=f"r{number}")) + b"\n" for number in range(2000))
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-100])
    tally = Tally()
    assert 1000 < len(list(read_samples([path], tally))) < 2000
    assert tally.damaged in (1, 2)


def test_what_the_gateway_lost_is_counted(tmp_path: Path) -> None:
    """Its own notes are no damage, nor are empty lines."""
    path = written(tmp_path / "samples.jsonl", sample())
    path.write_bytes(path.read_bytes() + b'{"time":1.0,"dropped":7}\n\n')
    tally = Tally()
    list(read_samples([path], tally))
    assert (1, 7, 0) == (tally.samples, tally.dropped, tally.damaged)


def test_an_access_log_is_said_to_be_one(tmp_path: Path) -> None:
    """With what to do instead."""
    path = tmp_path / "access.log"
    path.write_bytes(encode(RequestRecord("r", "POST", "/v2/models/digits/infer", "127.0.0.1:1"), 1.0))
    with pytest.raises(LogError, match=r"access.log is an access log: .*telemetry.samples"):
        list(read_samples([path], Tally()))


def test_a_file_without_a_sample_is_refused(tmp_path: Path) -> None:
    """Soon, however large it is; an empty one has nothing wrong with it."""
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\n" * 100_000)
    tally = Tally()
    with pytest.raises(LogError, match="no line of it is a recorded sample; it begins with b'version: 1"):
        list(read_samples([path], tally))
    assert tally.damaged < 200
    path.write_text("")
    assert [] == list(read_samples([path], Tally()))
    written(path, sample(sample=2))
    with pytest.raises(LogError, match="another format"):
        list(read_samples([path], Tally()))


def test_it_is_told_how_far_it_has_come(tmp_path: Path) -> None:
    """In bytes of all files, now and then."""
    paths = [written(tmp_path / name, *[sample()] * LOOK_EVERY) for name in ("a", "b")]
    seen: list[int] = []
    list(read_samples(paths, Tally(), seen.append))
    assert 2 == len(seen)
    assert 0 < seen[0] <= total_bytes(paths[:1]) < seen[1] <= total_bytes(paths)
