"""The server's own environment: a venv with PyTorch and the Triton binary, and the links Triton wants."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import preflight
from layout import SOURCES, Layout

# A step of its own, with a version and no hash: the registries carry torch 2.13.0 as different files (a CPU build of 200 MB,
# a CUDA build whose packages take 4 GB more), and which of them pip sees is the machine's configuration, not ours.
# `uv pip install` must not be used for it: it prefers the CUDA build where both exist.
TORCH = "torch==2.13.0"
PROGRESS_SECONDS = 10


class InstallError(Exception):
    """A step failed; the text says what to do."""


def make_venv(layout: Layout) -> None:
    """Create the environment from nothing and link the parts of Triton to where the server looks for them."""
    shutil.rmtree(layout.venv, ignore_errors=True)
    run("python -m venv", [sys.executable, "-m", "venv", str(layout.venv)], layout)
    pip = [
        str(layout.python),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
        "--progress-bar=off",
    ]
    # --no-deps: the lock is complete, and nvidia-pytriton's own dependencies serve a Python API that is not used here.
    run("pip", [*pip, "--require-hashes", "--no-deps", "-r", str(SOURCES / "requirements.lock")], layout)
    run("pip (torch)", [*pip, TORCH], layout)
    link_server(layout)
    if (layout.site_packages / "nvidia").exists():
        print(
            "    note: this registry served torch with CUDA, gigabytes that stay unused here; "
            "PIP_EXTRA_INDEX_URL=<PyTorch's CPU index> avoids it"
        )


def link_server(layout: Layout) -> None:
    """Lay out Triton's backend directory: the wheel has its three files in two places, and one stub per Python version."""
    triton = layout.site_packages / "pytriton" / "tritonserver"
    stubs = triton / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}"
    wanted = [
        triton / "backends" / "python" / "libtriton_python.so",
        triton / "backends" / "python" / "triton_python_backend_utils.py",
        stubs / "triton_python_backend_stub",
    ]
    libpython = preflight.find_libpython()
    if libpython is None or not all(file.exists() for file in wanted):
        raise InstallError("the installed nvidia-pytriton lacks parts of the server: delete .cache/serving and run this again")
    for folder, files in ((layout.tritonserver_links, wanted), (layout.libraries, [libpython])):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in files:
            (folder / file.name).symlink_to(file)


def run(name: str, command: Sequence[str], layout: Layout) -> None:
    """Run a command with its output in install.log, a sign of life every ten seconds, and its last lines if it fails."""
    temporary = layout.cache / "tmp"  # pip unpacks here: on the disk that was checked, not on a small /tmp
    temporary.mkdir(exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    log = layout.cache / "install.log"
    start = time.monotonic()
    with log.open("ab") as output:
        begin = output.tell()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment | {"TMPDIR": str(temporary)}
        ) as process:
            while process.poll() is None:
                try:
                    process.wait(PROGRESS_SECONDS)
                except subprocess.TimeoutExpired:
                    print(f"    {name}: still at it after {time.monotonic() - start:.0f} s", flush=True)
    shutil.rmtree(temporary, ignore_errors=True)
    if process.returncode != 0:
        raise InstallError(explain(name, log.read_bytes()[begin:].decode(errors="replace"), log))


def explain(name: str, output: str, log: Path) -> str:
    """Return what failed, its last lines, and what helps against the causes one meets."""
    causes = {
        "ensurepip": "Python's venv module is incomplete. Debian and Ubuntu: apt-get install python3-venv",
        "No space left": "the disk is full. Make room, or put the build folder elsewhere: ln -s /a/bigger/disk .cache",
        "THESE PACKAGES DO NOT MATCH THE HASHES": "a package differs from requirements.lock; a mirror changed it. Do not use it.",
        "Could not find a version": "the registry lacks it or cannot be reached. Check `pip config list`, the network.",
        "Connection": "the package registry cannot be reached. Check the network, the proxy and `pip config list`.",
    }
    hint = next((text for sign, text in causes.items() if sign in output), "the log says why")
    last = "\n".join(f"    | {line}" for line in output.strip().splitlines()[-8:])
    return f"{name} failed: {hint}\n{last}\n    whole log: {log}"
