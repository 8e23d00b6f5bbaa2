"""A machine that cannot run Triton is told why and what would help, before anything is downloaded."""

import dataclasses
from pathlib import Path
from typing import Any

import preflight
import pytest

GOOD = preflight.Machine(
    system="Linux",
    architecture="x86_64",
    python=(3, 11),
    libc=("glibc", "2.36"),
    free=preflight.DISK_NEEDED,
    libpython=Path("/lib/x.so"),
)


def test_a_good_machine_has_no_problems() -> None:
    """Exactly the needed disk and a newer glibc are enough."""
    assert [] == preflight.problems(GOOD)


@pytest.mark.parametrize(
    ("change", "said", "advice"),
    [
        ({"architecture": "aarch64"}, "Linux on aarch64", "linux/amd64"),
        ({"system": "Darwin", "libc": ("", "")}, "Darwin on x86_64", "container"),
        ({"python": (3, 13)}, "Python 3.13", "PYTHON=python3.11"),
        ({"libc": ("glibc", "2.31")}, "glibc 2.31", "Debian 12"),
        ({"libc": ("", "")}, "not glibc", "musl"),
        ({"free": 1 << 29}, "only 0.5 GiB", "Make room"),
        ({"libpython": None}, "libpython3.11.so.1.0 is missing", "apt-get install libpython3.11"),
    ],
)
def test_each_lack_is_named_with_a_way_out(change: dict[str, Any], said: str, advice: str) -> None:
    """One lack gives one line that names it and says what to do."""
    (problem,) = preflight.problems(dataclasses.replace(GOOD, **change))
    assert said in problem
    assert advice in problem


def test_all_lacks_are_reported_at_once() -> None:
    """Nobody should have to fix one thing to hear of the next."""
    assert 3 == len(preflight.problems(dataclasses.replace(GOOD, architecture="arm64", free=0, libpython=None)))


def test_a_version_is_compared_as_numbers() -> None:
    """2.4 is older than 2.35, and text that is no version is older than everything."""
    assert preflight.version("2.4") < preflight.version("2.35")
    assert () == preflight.version("2.36-9+deb")


def test_this_machine_can_be_described_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """The disk asked is the one on which the build folder will be made."""
    assert preflight.Machine.here(tmp_path / "not" / "yet").free > 0
