"""The files of samples: bounded, whole lines, one for each process, and no trouble to anybody when the disk makes some."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.telemetry.sample_file import SALT_BYTES, SampleFile, salt_for


def line(number: int, size: int = 100) -> bytes:
    """A line of that many bytes."""
    return json.dumps({"n": number}).encode().ljust(size - 1) + b"\n"


def numbers(*paths: Path) -> list[int]:
    """What stands in the files, notes of losses left out."""
    return [found["n"] for path in paths for each in path.read_bytes().splitlines() if "n" in (found := json.loads(each))]


def test_files_are_rolled_over_and_bounded(tmp_path: Path) -> None:
    """`keep` files of at most `size` bytes, the newest lines in them, no line cut, the oldest gone."""
    path = tmp_path / "samples.jsonl"
    file = SampleFile(path, 1000, 3)
    for number in range(95):
        file.write(line(number))
    files = [tmp_path / "samples.jsonl.2", tmp_path / "samples.jsonl.1", path]
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert all(each.stat().st_size <= 1000 for each in files)
    assert list(range(70, 95)) == numbers(*files)
    file.write(b"".join(map(line, range(95, 120))))  # larger than a file: in pieces of whole lines
    assert list(range(120))[-20:] == numbers(*files)[-20:]
    assert all(each.stat().st_size <= 1000 for each in files)


def test_keep_one_starts_again(tmp_path: Path) -> None:
    """With one file the old lines make room for the new."""
    path = tmp_path / "samples.jsonl"
    file = SampleFile(path, 1000, 1)
    for number in range(12):
        file.write(line(number))
    assert [path] == list(tmp_path.iterdir())
    assert [10, 11] == numbers(path)


def test_a_restart_goes_on_where_it_ended(tmp_path: Path) -> None:
    """New lines come behind the old ones; a half line of a process that died is ended, so that it spoils only itself."""
    path = tmp_path / "samples.jsonl"
    path.write_bytes(line(1) + b'{"n": 2, "cut')
    SampleFile(path, 1000, 2).write(line(3))
    assert [line(1), b'{"n": 2, "cut\n', line(3)] == path.read_bytes().splitlines(keepends=True)


def test_each_process_has_its_own_file(tmp_path: Path) -> None:
    """The second beside a living one writes to `-1`; when the first has ended its file is taken on."""
    path = tmp_path / "samples.jsonl"
    program = (
        "import sys; from pathlib import Path; from gateway.telemetry.sample_file import SampleFile\n"
        "SampleFile(Path(sys.argv[1]), 1000, 2).write(b'{\"n\": 1}\\n'); print('written', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert b"written\n" == other.stdout.readline()
        SampleFile(path, 1000, 2).write(line(2))
        other.communicate()
    SampleFile(path, 1000, 2).write(line(3))
    assert ([1, 3], [2]) == (numbers(path), numbers(tmp_path / "samples-1.jsonl"))


def test_a_full_disk_costs_samples_only(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is raised; it is said once."""
    file = SampleFile(Path("/dev/full"), 1000, 2)
    for number in range(3):
        file.write(line(number))
    assert ["samples cannot be written to /dev/full and are lost until they can: [Errno 28] No space left on device"] == [
        record.getMessage() for record in caplog.records
    ]


def test_a_disk_that_takes_a_line_now_and_then(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log when it began, one when it has been well for ten seconds; the file counts each loss."""
    path, now = tmp_path / "var" / "samples.jsonl", [100.0]
    file = SampleFile(path, 100_000, 2, lambda: now[0])
    for number in range(5):
        file.write(line(number))  # there is no folder
        path.parent.mkdir()
        file.write(line(number))
        path.rename(tmp_path / "kept.jsonl")
        path.parent.rmdir()
        now[0] += 0.2
    path.parent.mkdir()
    for passed in (0.0, 9.7, 0.2, 0.0):
        now[0] += passed
        file.write(line(9))
    said = [each.split(" (")[0].split(" to ")[0] for each in caplog.messages]
    assert ["samples cannot be written", "samples are written again; 5 were lost"] == said
    assert b'"dropped":1' in (tmp_path / "kept.jsonl").read_bytes()


def test_what_fits_in_part_is_not_written(tmp_path: Path) -> None:
    """A line that the disk takes half of is taken back, and counted in the next that it takes."""
    path, before = tmp_path / "samples.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    file = SampleFile(path, 100_000, 2, lambda: 7.0)
    file.write(line(1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))  # of bytes in a file: the kernel writes what fits, then refuses
    try:
        file.write(line(2) + line(3))
        assert line(1) == path.read_bytes()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file.write(line(4))
    assert line(1) + b'{"time":7.0,"dropped":2}\n' + line(4) == path.read_bytes()


def test_a_folder_that_is_taken_away(tmp_path: Path) -> None:
    """Lines are lost while there is no folder, and go to the new one when there is; so with a file that is taken away."""
    folder = tmp_path / "var"
    file = SampleFile(folder / "samples.jsonl", 1000, 2)
    file.write(line(1))
    folder.mkdir()
    file.write(line(2))
    (folder / "samples.jsonl").rename(tmp_path / "kept.jsonl")
    folder.rmdir()
    file.write(line(3))
    folder.mkdir()
    file.write(line(4))
    assert ([2], [4]) == (numbers(tmp_path / "kept.jsonl"), numbers(folder / "samples.jsonl"))
    (folder / "samples.jsonl").unlink()
    file.write(line(5))
    assert [5] == numbers(folder / "samples.jsonl")


def test_a_place_where_nobody_may_write() -> None:
    """Neither file nor salt: nothing is raised, and there is a salt all the same."""
    path = Path("/proc/self/samples.jsonl")
    SampleFile(path, 1000, 2).write(line(1))
    assert SALT_BYTES == len(salt_for(path))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write to the folder must not choose which file is appended to."""
    (tmp_path / "samples.jsonl").symlink_to(tmp_path / "other")
    SampleFile(tmp_path / "samples.jsonl", 1000, 2).write(line(1))
    assert not (tmp_path / "other").exists()


def test_all_processes_have_one_salt(tmp_path: Path) -> None:
    """Kept in a file that only its owner reads; one that is spoilt is not used."""
    path = tmp_path / "samples.jsonl"
    salt = salt_for(path)
    assert (SALT_BYTES, salt) == (len(salt), salt_for(path))
    (kept,) = tmp_path.iterdir()
    assert 0o600 == kept.stat().st_mode & 0o777
    kept.write_text("zz")
    assert salt_for(path) not in (salt, b"zz")
    assert SALT_BYTES == len(salt_for(path))
    assert [kept] == list(tmp_path.iterdir())


def test_samples_are_not_for_everybody(tmp_path: Path) -> None:
    """Owner and group read them, at most."""
    path = tmp_path / "samples.jsonl"
    mask = os.umask(0)
    try:
        SampleFile(path, 1000, 2).write(line(1))
    finally:
        os.umask(mask)
    assert 0o640 == path.stat().st_mode & 0o777
