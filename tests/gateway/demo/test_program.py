"""The demo from outside: what it exits with, what it says, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.demo.processes import ROOT, Ports, get
from gateway.demo.program import parse, port_number
from gateway.demo.show import SCENES

SHARED_MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[str]]:
    """The program on free ports, killed at the end if it is still there."""
    command = [sys.executable, "-m", "gateway.demo", "--free-ports", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    limit = threading.Timer(180, process.terminate)
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        process.terminate()
        process.wait(60)


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """What it prints up to the line that holds these words, or to its end."""
    assert process.stdout is not None
    found: list[str] = []
    for line in process.stdout:
        found.append(line)
        if wanted in line:
            break
    return found


def left_behind(printed: Sequence[str]) -> list[str]:
    """Addresses of that run that still answer, and shared memory of its Triton."""
    text = "".join(printed)
    addresses = set(re.findall(r"127\.0\.0\.1:\d+", text))
    http = re.search(r"ready on 127\.0\.0\.1:(\d+) \(HTTP\)", text)
    assert http is not None
    segments = [str(path) for path in SHARED_MEMORY.glob(f"penstock-triton-{http[1]}-*")]
    return [address for address in addresses if answers(address)] + segments


def answers(address: str) -> bool:
    """Whether anybody does there."""
    try:
        get(address, "/")
    except OSError:
        return False
    return True


def test_usual_ports_are_the_documented_ones() -> None:
    """One by name, all of them free, or all free but one."""
    assert Ports() == parse([]).ports
    assert Ports(http=9080) == parse(["--http", "9080"]).ports
    assert Ports(0, 0, 0, 0, 9001, 0) == parse(["--free-ports", "--triton-grpc", "9001"]).ports


def test_a_port_is_a_number_that_there_is() -> None:
    """0 means any."""
    assert [0, 65535] == [port_number("0"), port_number("65535")]
    for text in ("-1", "65536", "http"):
        with pytest.raises(ValueError, match=text):
            port_number(text)


def test_wrong_usage_exits_with_2() -> None:
    """argparse says what was wrong."""
    with pytest.raises(SystemExit) as ended:
        parse(["--http", "99999"])
    assert 2 == ended.value.code


@pytest.mark.slow
def test_the_demo_is_right_and_leaves_nothing() -> None:
    """Every scene on a real Triton; exit 0."""
    with running() as process:
        printed = lines_until(process, "never said")
        assert 0 == process.wait(60), "".join(printed)
    text = "".join(printed)
    assert len(SCENES) == len(re.findall(r"^  ok  ", text, re.MULTILINE))
    assert max(map(len, printed)) <= 121
    assert "\x1b" not in text
    assert [] == left_behind(printed)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_staying_ends_with_0_and_leaves_nothing(ending: signal.Signals) -> None:
    """By SIGTERM, by closing the terminal (Ctrl-C is the next test's)."""
    with running("--stay") as process:
        printed = lines_until(process, "Stop: Ctrl-C")
        process.send_signal(ending)
        printed += lines_until(process, "never said")
        assert 0 == process.wait(60), "".join(printed)
    assert [] == left_behind(printed)


@pytest.mark.slow
def test_an_interrupted_demo_exits_with_1_and_leaves_nothing() -> None:
    """In the middle of the comparison."""
    with running() as process:
        printed = lines_until(process, "always fast")
        process.send_signal(signal.SIGINT)
        printed += lines_until(process, "never said")
        assert 1 == process.wait(60), "".join(printed)
    assert "interrupted; everything is stopped" in printed[-1]
    assert [] == left_behind(printed)
