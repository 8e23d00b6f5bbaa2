"""What a large body took is kept for the next."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from gateway.heap import keep_freed
kept = {kept} and keep_freed()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        blocks = [bytes(300_000) for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(int(kept), faults())
"""


def faults(kept: bool) -> tuple[int, int]:
    found = subprocess.run([sys.executable, "-c", PROGRAM.format(kept=kept)], capture_output=True, text=True, check=True)
    said, count = found.stdout.split()
    return int(said), int(count)


def test_pages_are_kept() -> None:
    """Where the C library lets itself be told, bodies that come again fault in no pages."""
    said, count = faults(kept=True)
    if not said:
        pytest.skip("not glibc")
    _, before = faults(kept=False)
    assert count * 10 < before
    assert resource.getpagesize() * count < 8 * 1024 * 1024
