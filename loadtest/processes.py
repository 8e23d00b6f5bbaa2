"""Starts the programs being measured, each on a core of its own, and reads what they used from /proc."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class StartError(Exception):
    """A program is missing or did not come up; the text says what to do about it."""


class MissingToolError(StartError):
    """The program is not installed on this machine; the text names the package."""


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that matter here; `ticks` are user + system, of the process and of children it has reaped.

    `kernel_ticks` are the system's part of them.
    """

    parent: int
    ticks: int
    kernel_ticks: int
    resident_pages: int


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the program under test has for itself, and which one everything else shares."""

    subject: int
    load: int


def cores() -> Cores:
    """The first and the last core this process may use; the same one where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(subject=allowed[0], load=allowed[-1])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def parse_stat(text: str) -> Stat:
    """One line of /proc/PID/stat. The command name may hold spaces and brackets, so fields are counted after the last one."""
    fields = text.rpartition(")")[2].split()
    user, system, user_below, system_below = map(int, fields[11:15])
    kernel = system + system_below
    ticks = user + user_below + kernel
    return Stat(parent=int(fields[1]), ticks=ticks, kernel_ticks=kernel, resident_pages=int(fields[21]))


def tree(root: int) -> dict[int, Stat]:
    """The process and everything below it that lives now, by pid; empty when the root is gone."""
    stats: dict[int, Stat] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = parse_stat((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended while the list was read
    found = {root: stats[root]} if root in stats else {}
    grew = bool(found)
    while grew:
        below = {pid: stat for pid, stat in stats.items() if stat.parent in found and pid not in found}
        found.update(below)
        grew = bool(below)
    return found


@dataclass(frozen=True, slots=True)
class Running:
    """A started program. It is ended by its pid and by nothing wider."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The root of its process tree."""
        return self.process.pid

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree since it started, in steps of one clock tick (10 ms)."""
        return sum(stat.ticks for stat in tree(self.pid).values()) / TICKS_PER_SECOND

    def spent(self) -> tuple[float, float]:
        """The same, and what of it was system time."""
        stats = tree(self.pid).values()
        ticks, kernel = sum(stat.ticks for stat in stats), sum(stat.kernel_ticks for stat in stats)
        return ticks / TICKS_PER_SECOND, kernel / TICKS_PER_SECOND

    def cpu_by_process(self) -> dict[int, float]:
        """The same for each process that lives, by pid."""
        return {pid: stat.ticks / TICKS_PER_SECOND for pid, stat in tree(self.pid).items()}

    def rss_bytes(self) -> int:
        """Resident memory of the whole tree; pages that two processes share count twice."""
        return sum(stat.resident_pages for stat in tree(self.pid).values()) * PAGE_BYTES

    def peak_bytes(self) -> int:
        """The most each process of the tree held since `reset_peak`, added up."""
        return sum(_high_water(pid) for pid in tree(self.pid))

    def reset_peak(self) -> None:
        """Count the peak from now on (proc(5), clear_refs)."""
        for pid in tree(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, then SIGKILL to whatever of the tree is left after `grace` seconds."""
        members = tree(self.pid) if self.process.poll() is None else {}
        if members:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self._kill(members)
        self.process.wait()

    def _kill(self, members: dict[int, Stat]) -> None:
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def wait_ready(self, probe: Callable[[], bool], seconds: float = 20.0, every: float = 0.02) -> None:
        """Return once `probe` says yes. Raises StartError with the end of its log when it exits or takes too long."""
        give_up = time.monotonic() + seconds
        while not probe():
            if self.process.poll() is not None:
                raise StartError(f"{self.name} exited with {self.process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > give_up:
                raise StartError(f"{self.name} was not ready after {seconds:g} s:\n{self.log_tail()}")
            time.sleep(every)

    def log_tail(self, lines: int = 12) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run keeps its files, what stands behind the proxies, and the cores the program under test gets."""

    folder: Path
    backend_port: int
    cores: frozenset[int]


@dataclass(frozen=True, slots=True)
class Started:
    """A program that answers: its ports, and the headers a client needs to be let in, by kind of credential ("": none)."""

    running: Running
    version: str
    port: int
    grpc_port: int | None = None
    credentials: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=lambda: {"": ()})


def start(name: str, command: Sequence[str], cores: Collection[int], log: Path) -> Running:
    """Start a program pinned to these cores, its output in `log`. Raises StartError where there is no such program."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # inherited by the child before its first thread exists, so no thread escapes it
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    except OSError as error:
        raise StartError(f"{name}: {error}") from error
    finally:
        os.sched_setaffinity(0, before)
    return Running(name, process, log)


def _high_water(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def many_files() -> int:
    """Raise the soft limit of open files to the hard one, for this process and what it starts; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def stop_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit(143), which unwinds the stack and so ends every program that was started."""

    def leave(*_: object) -> NoReturn:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, leave)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
