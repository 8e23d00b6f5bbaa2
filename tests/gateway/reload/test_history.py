"""The last documents, in memory and in a folder that a killed process leaves and that somebody may damage."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.configuration.load import version
from gateway.reload.history import KEPT, History, Origin

ALICE = Origin("alice", "api", "rollback")


def kept(history: History) -> list[str]:
    """The documents, newest first."""
    return [(history.text(each.version) or b"").decode() for each in history.entries]


def put(history: History, text: str, time: str = "t") -> None:
    """In memory and in the folder."""
    history.add(text.encode(), ALICE, time)
    history.store()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where nothing is yet."""
    return tmp_path / "policies"


def test_each_version_is_kept_once_newest_first() -> None:
    """With when, by whom and how it came in force last."""
    history = History()
    for text in ("one", "two", "one"):
        put(history, text, f"time of {text}")
    assert ["one", "two"] == kept(history)
    newest = history.entries[0]
    assert ("time of one", "alice", "api", "rollback", 3) == (newest.time, newest.who, newest.via, newest.what, newest.number)
    assert history.text("0" * 12) is None


def test_only_the_last_are_kept(folder: Path) -> None:
    """In memory and in the folder."""
    history = History(folder)
    for number in range(KEPT + 5):
        put(history, f"document {number}")
    expected = [f"document {number}" for number in range(KEPT + 4, 4, -1)]
    assert expected == kept(history) == kept(History(folder))
    assert 2 * KEPT == len(list(folder.iterdir()))


def test_a_restart_finds_the_very_bytes(folder: Path) -> None:
    """In files named by the version, for this user alone."""
    put(History(folder), "uno\r\n\x00")
    again = History(folder)
    assert ["uno\r\n\x00"] == kept(again)
    file = folder / f"{version(b'uno' + bytes([13, 10, 0]))}.yaml"
    assert (b"uno\r\n\x00", 0o600, 0o700) == (file.read_bytes(), file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777)
    put(again, "due")
    assert ["due", "uno\r\n\x00"] == kept(History(folder))


def damage_document(folder: Path) -> str:
    path = sorted(folder.glob("*.yaml"))[0]
    path.write_bytes(b"x" + path.read_bytes())
    return path.stem


def truncate_note(folder: Path) -> str:
    path = sorted(folder.glob("*.json"))[0]
    path.write_bytes(path.read_bytes()[:20])
    return path.stem


def lose_document(folder: Path) -> str:
    path = sorted(folder.glob("*.yaml"))[0]
    path.unlink()
    return path.stem


def swap_notes(folder: Path) -> str:
    first, second = sorted(folder.glob("*.json"))[:2]
    first.write_bytes(second.read_bytes())
    return first.stem


@pytest.mark.parametrize("harm", [damage_document, truncate_note, lose_document, swap_notes])
def test_a_damaged_entry_is_left_out_and_named(folder: Path, harm: object) -> None:
    """The others are there; what is damaged stays for whoever wants to look, until the version is written again."""
    texts = ["one", "two", "three"]
    history = History(folder)
    for text in texts:
        put(history, text)
    harmed: str = harm(folder)  # type: ignore[operator]
    lost = next(text for text in texts if version(text.encode()) == harmed)
    again = History(folder)
    assert [f"{harmed}.json"] == again.damaged
    assert [text for text in reversed(texts) if text != lost] == kept(again)
    put(again, "four")
    assert (folder / f"{harmed}.json").exists()
    put(again, lost)
    assert ([], lost) == (again.damaged, kept(History(folder))[0])


def test_files_of_others_are_left_alone(folder: Path) -> None:
    """Whatever they say; what a killed process of ours left half done goes."""
    folder.mkdir()
    (folder / "README").write_text("mine")
    (folder / "notes.json").write_text("{}")
    (folder / ".0123456789ab.yaml.x1").write_text("half")
    (folder / "0123456789ab.yaml").write_text("without a note")
    history = History(folder)
    assert ["notes.json"] == history.damaged
    put(history, "one")
    name = version(b"one")
    assert [f"{name}.json", f"{name}.yaml", "README", "notes.json"] == sorted(path.name for path in folder.iterdir())


def test_a_folder_in_the_place_of_an_entry(folder: Path) -> None:
    """Is named and left alone; later documents are written all the same."""
    (folder / "bbbbbbbbbbbb.yaml").mkdir(parents=True)
    history = History(folder)
    assert ["bbbbbbbbbbbb.yaml"] == history.damaged
    (folder / "cccccccccccc.json").mkdir()  # made since
    for text in ("one", "two"):
        put(history, text)
    again = History(folder)
    assert (["two", "one"], ["bbbbbbbbbbbb.yaml", "cccccccccccc.json"]) == (kept(again), again.damaged)


def test_what_could_not_be_written_is_written_with_the_next(folder: Path) -> None:
    """As long as it is kept; what stands in its way keeps no other out."""
    history, lost = History(folder), version(b"lost")
    (folder / f"{lost}.yaml").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        put(history, "lost")
    with pytest.raises(IsADirectoryError):
        put(history, "second")
    assert ["second"] == kept(History(folder))
    (folder / f"{lost}.yaml").rmdir()
    put(history, "third")
    assert ["third", "second", "lost"] == kept(History(folder))


def test_what_is_not_kept_any_more_is_not_written(folder: Path) -> None:
    """Nor held for ever."""
    history, lost = History(folder), version(b"lost")
    (folder / f"{lost}.yaml").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        put(history, "lost")
    for number in range(KEPT):
        history.add(f"document {number}".encode(), ALICE, "t")
    history.store()
    expected = [f"document {number}" for number in reversed(range(KEPT))]
    assert expected == kept(History(folder))


WRITER = """
import sys
from pathlib import Path
from gateway.reload.history import History, Origin
history = History(Path(sys.argv[1]))
number = int(sys.argv[2])
print("up", flush=True)
while True:
    number += 1
    text = (f"document {number} " + "x" * 20_000).encode()
    history.add(text, Origin("w", "file"), "t")
    history.store()
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_process_killed_in_the_middle_leaves_whole_entries(folder: Path) -> None:
    """Wherever that is: the last written are there, in order, none is damaged, and the folder does not grow."""
    chance, last = random.Random(4), 0
    for _ in range(25):
        program = [sys.executable, "-c", WRITER, str(folder), str(last)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for _ in range(chance.randrange(1, 30)):
                last = int(process.stdout.readline())
            for _ in range(chance.randrange(4000)):  # somewhere within the next
                pass
            process.send_signal(signal.SIGKILL)
            last = max([last, *map(int, process.stdout.read().split())])
        history = History(folder)
        assert [] == history.damaged
        numbers = [int(text.split()[1]) for text in kept(history)]
        assert min(KEPT, last) <= len(numbers) + (numbers[0] - last)  # all but at most what it did not come to say
        assert last <= numbers[0] <= last + 1
        assert list(range(numbers[0], numbers[0] - len(numbers), -1)) == numbers
        last = numbers[0]
        assert len(list(folder.iterdir())) <= 2 * KEPT + 4
