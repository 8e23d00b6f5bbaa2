"""Say before anything is downloaded why the real Triton cannot run here, and what would help."""

import platform
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
DISK_NEEDED = 3 * GIB  # 1.3 GiB stay; pip unpacks beside it
GLIBC_NEEDED = (2, 35)  # what the tritonserver binary in nvidia-pytriton 0.7.0 was linked against
# The wheel has stubs for 3.8 to 3.13, but they need numpy 1, whose last wheels are for 3.12, and today's scipy needs 3.11.
PYTHONS = ((3, 11), (3, 12))
LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the checks look at, so that a test can describe a machine it does not run on."""

    system: str
    architecture: str
    python: tuple[int, int]
    libc: tuple[str, str]
    free: int  # bytes
    libpython: Path | None

    @classmethod
    def here(cls, folder: Path) -> "Machine":
        """Describe this machine and the disk that holds `folder`, which need not exist yet."""
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        return cls(
            system=platform.system(),
            architecture=platform.machine(),
            python=sys.version_info[:2],
            libc=platform.libc_ver(),
            free=shutil.disk_usage(existing).free,
            libpython=find_libpython(),
        )


def find_libpython(folders: Sequence[str] = LIBRARY_FOLDERS) -> Path | None:
    """Return the shared library of this Python version: the interpreter's own, else one the system has."""
    name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
    for folder in (str(sysconfig.get_config_var("LIBDIR")), f"{sys.base_prefix}/lib", *folders):
        if (found := Path(folder) / name).exists():
            return found
    return None


def version(text: str) -> tuple[int, ...]:
    """Read "2.36" as (2, 36); anything else as ()."""
    return tuple(int(part) for part in text.split(".")) if text.replace(".", "").isdigit() else ()


def problems(machine: Machine) -> list[str]:
    """Return every reason why the server cannot be installed, each with a way out; empty when it can."""
    found = []
    if (machine.system, machine.architecture) != ("Linux", "x86_64"):
        found.append(
            f"this is {machine.system} on {machine.architecture}; the Triton binary exists for Linux on x86-64 only. "
            "Use such a machine, or its container (docker run --platform linux/amd64 … python:3.11)."
        )
    if machine.python not in PYTHONS:
        here = ".".join(map(str, machine.python))
        found.append(
            f"this is Python {here}; Triton's Python backend runs here with 3.11 or 3.12. "
            "Install one of them and say which: make PYTHON=python3.11 demo"
        )
    library, libc_version = machine.libc
    if machine.system == "Linux" and (library != "glibc" or version(libc_version) < GLIBC_NEEDED):
        found.append(
            f"the C library is {library or 'not glibc'} {libc_version}; Triton needs glibc 2.35 or newer. "
            "Debian 12, Ubuntu 22.04, Fedora 36 and anything newer have it; Alpine (musl) does not."
        )
    if machine.free < DISK_NEEDED:
        found.append(
            f"only {machine.free / GIB:.1f} GiB are free and {DISK_NEEDED / GIB:.0f} are needed. "
            "Make room, or put the build folder elsewhere: ln -s /a/bigger/disk .cache"
        )
    if machine.libpython is None and machine.python in PYTHONS:
        here = ".".join(map(str, machine.python))
        found.append(
            f"libpython{here}.so.1.0 is missing: Triton embeds Python, and this interpreter has no shared library. "
            f"Debian and Ubuntu: apt-get install libpython{here}; "
            f"pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install {here}."
        )
    return found
