"""Makes a worker process out of the parent: with what the parent has loaded, and without what it has open.

A fork starts in milliseconds and shares the memory of everything imported. Its traps, and what is done about each:
- signals that come between fork and the child's own settings would be taken for the parent's: blocked meanwhile;
- the parent's descriptors (event loop, admin connections, lines to other workers) would stay open in the child, which hides
  their end from others: each is replaced by /dev/null, not closed, so that an object of the parent's that is tidied away in
  the child closes nothing but that. What the child shall have is left alone;
- grpc's core and uvloop may be loaded, not used, before a fork; the parent uses neither, and starts no thread.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


@dataclass(frozen=True, slots=True)
class Forked:
    """A child process: its number, a descriptor that can be read when it has ended, and the line to it."""

    pid: int
    ended: int
    line: socket.socket


def fork(program: Callable[[socket.socket], int], kept: Sequence[socket.socket] = ()) -> Forked:
    """Runs `program` with its end of the line in a new process, whose exit status it returns; it never comes back from there.

    Of what the parent has open, the child has what is `kept`. To be called from a callback of the event loop, never from a task,
    which the child would go on being in. Raises OSError.
    """
    ours, theirs = socket.socketpair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _child(program, theirs, kept, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    ours.setblocking(False)
    return Forked(pid, os.pidfd_open(pid), ours)


def _child(
    program: Callable[[socket.socket], int],
    line: socket.socket,
    kept: Sequence[socket.socket],
    mask: set[int | signal.Signals],
) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for number in _SIGNALS[1:]:  # a terminal sends them to all of us; the parent says what they mean
            signal.signal(number, signal.SIG_IGN)
        _let_go({each.fileno() for each in (line, *kept)})
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        line.setblocking(False)
        status = program(line)
    except BaseException:  # noqa: BLE001 - nothing may unwind into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _let_go(kept: set[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        number = int(entry)
        if number > 2 and number not in kept and number != nothing and Path(f"/proc/self/fd/{number}").exists():
            os.dup2(nothing, number, inheritable=False)
    os.close(nothing)
