"""The part of a worker that needs no process: the policy it keeps for itself. The rest is in tests/faults/test_workers.py."""

from __future__ import annotations

from gateway.configuration.files import read_file
from gateway.workers.worker import PolicyFile


def test_the_policy_is_a_file_that_can_be_read_and_changed() -> None:
    """Whole each time, also when the next is shorter, and apart from other workers' files."""
    one, other = PolicyFile(b"the first, and long"), PolicyFile(b"another's")
    assert b"the first, and long" == read_file(one.path)
    one.write(b"second")
    assert [b"second", b"another's"] == [read_file(one.path), read_file(other.path)]
