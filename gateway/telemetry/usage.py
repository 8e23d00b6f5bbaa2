"""What the process takes of the machine, under the names that every Prometheus exporter uses.

prometheus_client has a collector for this, but importing it holds the event loop for 65 ms at the first scrape.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

from gateway.telemetry.series import Numbers

_STARTED = time.time()
_PAGE = resource.getpagesize()


class Usage:
    """Read anew for every scrape; what this system does not tell (`/proc` is Linux's) is left out."""

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc
        self._cpu = Numbers("counter", "process_cpu_seconds_total", "user and system CPU time", ())
        self._started = Numbers("gauge", "process_start_time_seconds", "when the process started, since the epoch", ())
        self._resident = Numbers("gauge", "process_resident_memory_bytes", "memory held", ())
        self._open = Numbers("gauge", "process_open_fds", "open files and sockets", ())

    def families(self) -> tuple[Numbers, ...]:
        """All of it as of now."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._cpu.cell().value = used.ru_utime + used.ru_stime
        self._started.cell().value = _STARTED
        try:
            pages = int((self._proc / "statm").read_text().split()[1])
            self._open.cell().value = sum(1 for _ in (self._proc / "fd").iterdir())
            self._resident.cell().value = pages * _PAGE
        except OSError:
            pass
        return self._cpu, self._started, self._resident, self._open
