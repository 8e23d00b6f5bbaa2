"""Make everything the GPU side needs on a plain machine: the server's environment, trained models, Triton's repository.

Runs on any Python 3.11 or 3.12, standard library only. Each step leaves a stamp, the hash of all that it was made from,
so that a second run does nothing and a changed file repeats only what depends on it.
"""

import argparse
import fcntl
import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import preflight
from assemble import assemble
from environment import InstallError, make_venv, run
from layout import DEFAULT_CACHE, SOURCES, Layout


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the work: `make` runs again only when a file in `inputs` or an earlier step changed."""

    name: str
    title: str
    inputs: Sequence[Path]
    result: Path
    make: Callable[[Layout], None]


def sources(*patterns: str) -> list[Path]:
    """Return the files of this folder that match, in a fixed order."""
    return sorted(file for pattern in patterns for file in SOURCES.glob(pattern) if file.is_file())


def steps(layout: Layout) -> list[Step]:
    """Return the work in the order it is done."""
    training = sources("training/*.py")
    assembling = sources("assemble.py", "training/models.py", "model_code/*.py", "model_repository/*/*")
    server = "installing PyTorch and the real Triton (about 350 MB to download, 1.3 GB on disk)"
    return [
        Step("venv", server, sources("environment.py", "requirements.lock"), layout.tritonserver_links, make_venv),
        Step("trained", "training the digit models on the CPU", training, layout.report, make_models),
        Step("repository", "assembling the model repository", assembling, layout.repository, make_repository),
    ]


def make_models(layout: Layout) -> None:
    """Train in the server's environment; what comes out replaces what was there."""
    shutil.rmtree(layout.trained, ignore_errors=True)
    layout.trained.mkdir()
    run("train.py", [str(layout.python), str(SOURCES / "training" / "train.py"), "--out", str(layout.trained)], layout)


def make_repository(layout: Layout) -> None:
    """Assemble; takes no time."""
    assemble(layout.trained / "weights", layout.repository)


def fingerprint(step: Step, before: str) -> str:
    """Hash what a step is made from: the steps before it, this Python, its input files."""
    digest = hashlib.sha256(f"{before} {sys.version_info[:3]} {sys.base_prefix}".encode())
    for file in step.inputs:
        digest.update(f"{file.relative_to(SOURCES)} ".encode() + file.read_bytes())
    return digest.hexdigest()


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Let two `make` at once wait for each other instead of deleting each other's work."""
    layout.cache.mkdir(parents=True, exist_ok=True)
    with (layout.cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("· another installation is at work here; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def outdated(layout: Layout) -> list[tuple[Step, Path, str]]:
    """Return the steps that must run, each with its stamp file and what is to be written there."""
    todo, mark = [], ""
    for step in steps(layout):
        mark = fingerprint(step, mark)
        stamp = layout.cache / f"{step.name}.stamp"
        if not (stamp.exists() and stamp.read_text() == mark and step.result.exists()):
            todo.append((step, stamp, mark))
    return todo


def install(layout: Layout) -> None:
    """Bring the build folder up to date; raise InstallError with advice if that cannot be."""
    with alone(layout):
        todo = outdated(layout)
        if any(step.name == "venv" for step, _, _ in todo):
            found = preflight.problems(preflight.Machine.here(layout.cache))
            if found:
                raise InstallError("the real Triton cannot be installed here:\n" + "\n".join(f"  - {text}" for text in found))
        for step, stamp, mark in todo:
            print(f"· {step.title}", flush=True)
            start = time.monotonic()
            stamp.unlink(missing_ok=True)
            step.make(layout)
            stamp.write_text(mark)
            print(f"    done in {time.monotonic() - start:.0f} s", flush=True)


def main() -> int:
    """Command line: exit 0 when everything is there, 1 when it cannot be made."""
    parser = argparse.ArgumentParser(description="Install the real Triton and the example models (no root needed).")
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="build folder (default: .cache/serving in the repository)"
    )
    layout = Layout(parser.parse_args().cache.resolve())
    try:
        install(layout)
    except InstallError as error:
        print(f"install.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("install.py: interrupted; run it again to go on", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
