"""Tests of gateway.cli.policy.live: `penstock policy check --live` against servers that have not what the policy names."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.cli.policy.check import add_parser
from tests.features.oip_server import Server
from tests.real_parts import PENSTOCK, ROOT, Triton, free_ports

POLICY = """version: 1
backends:
  triton: {{protocol: triton-http, endpoints: [{}]}}
models:
  digits:
    variants:
      fast: {{backend: triton, model: digits_fast}}
      dear: {{backend: triton, model: digits_accurate, version: "2"}}
    routes: [{{name: default, use: fast}}]
"""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A small server of the protocol."""
    server = Server()
    await server.start()
    yield server
    await server.close()


def check(folder: Path, text: str, *arguments: str) -> int:
    """The exit status of `check --live` for this policy."""
    (folder / "policy.yaml").write_text(text)
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["check", "--live", *arguments, str(folder / "policy.yaml")])
    status: int = parsed.run(parsed)
    return status


async def said(folder: Path, text: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """What `check --live` prints when the answer is no, without the file's name; it runs beside this loop, which serves it."""
    assert 1 == await asyncio.to_thread(check, folder, text, *arguments)
    *problems, last = capsys.readouterr().out.splitlines()
    assert last.endswith("the policy cannot be used with these backends")
    return [line.removeprefix(f"{folder}/policy.yaml:") for line in problems]


async def test_all_is_there(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The status is 0, and the line says that the backends were asked."""
    policy = POLICY.format(f"127.0.0.1:{server.port}")
    assert 0 == await asyncio.to_thread(check, tmp_path, policy)
    assert "1 route; the backends have it all" in capsys.readouterr().out
    assert {"/v2/models/digits_accurate/versions/2", "/v2/models/digits_fast"} < {each.path for each in server.received}


async def test_missing_models_and_versions(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each at its line and key."""
    address = f"127.0.0.1:{server.port}"
    policy = POLICY.format(address).replace("digits_fast", "digits_fats").replace('"2"', '"7"')
    assert [
        f"7: models.digits.variants.fast.model: {address} has no model 'digits_fats'",
        f"8: models.digits.variants.dear.version: {address} has no version '7' of model 'digits_accurate'; it has '1', '2'",
    ] == await said(tmp_path, policy, capsys)


async def test_other_datatypes(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Variants of one model that take different inputs do not belong together."""
    policy = POLICY.format(f"127.0.0.1:{server.port}").replace('digits_accurate, version: "2"', "simple")
    other = "variant 'fast' (line 7)"
    assert [
        f"8: models.digits.variants.dear: takes no input 'image'; {other} does",
        f"8: models.digits.variants.dear: takes input 'INPUT0'; {other} does not",
        f"8: models.digits.variants.dear: takes input 'INPUT1'; {other} does not",
    ] == await said(tmp_path, policy, capsys)


async def test_as_json(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For tools the problems are objects like all others."""
    policy = POLICY.format(f"127.0.0.1:{server.port}").replace("digits_fast", "nope")
    assert 1 == await asyncio.to_thread(check, tmp_path, policy, "--json")
    answer = json.loads(capsys.readouterr().out)
    assert (False, "models.digits.variants.fast.model", 7) == (
        answer["ok"],
        *[answer["problems"][0][key] for key in ("path", "line")],
    )


def test_a_dead_port_and_a_server_that_hangs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are problems of their endpoint, found side by side and no later than told."""
    (dead,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel connects; nobody ever answers
        hanging = silent.getsockname()[1]
        policy = POLICY.format(f"127.0.0.1:{dead}, 127.0.0.1:{hanging}, localhost:{hanging}")
        start = time.monotonic()
        assert 1 == check(tmp_path, policy, "--timeout", "300ms")
        assert time.monotonic() - start < 2.0
    problems = capsys.readouterr().out
    assert f"3: backends.triton.endpoints[0]: nobody answers at 127.0.0.1:{dead} over triton-http\n" in problems
    for index, host in enumerate(("127.0.0.1", "localhost"), 1):
        assert f"3: backends.triton.endpoints[{index}]: {host}:{hanging} did not answer within 0.3 s\n" in problems


def test_a_policy_with_mistakes_is_not_taken_to_its_backends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the file itself has wrong comes first; nobody is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert 1 == check(tmp_path, POLICY.format(f"127.0.0.1:{silent.getsockname()[1]}").replace("use: fast", "use: fats"))
    assert capsys.readouterr().out.endswith("1 problem; the policy cannot be used\n")


@pytest.mark.parametrize("duration", ["5", "0s", "soon"])
def test_a_timeout_that_is_none(duration: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is used wrongly: durations are written here as in the policy."""
    with pytest.raises(SystemExit) as ended:
        check(tmp_path, POLICY.format("127.0.0.1:1"), "--timeout", duration)
    assert 2 == ended.value.code
    assert "--timeout" in capsys.readouterr().err


def real(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`penstock policy check --live`, as its users run it."""
    (folder / "policy.yaml").write_text(text)
    command = [*PENSTOCK, "policy", "check", "--live", *arguments, str(folder / "policy.yaml")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["triton-http", "triton-grpc"])
def test_the_repositorys_policy_before_a_real_triton(triton: Triton, protocol: str, tmp_path: Path) -> None:
    """It has all that the policy names, whichever way it is asked; and what it has not is told with the nearest that it has."""
    address = triton.http if protocol == "triton-http" else triton.grpc
    text = (ROOT / "config" / "policy.yaml").read_text()
    text = text.replace("127.0.0.1:8000", address).replace("127.0.0.1:8001", triton.grpc).replace("triton-http", protocol)
    done = real(tmp_path, text)
    assert ("", 0) == (done.stderr, done.returncode), done.stdout
    wrong = (
        text.replace("digits_fast", "digits_fats")
        .replace('version: "2"', 'version: "7"')
        .replace("output: probabilities", "output: label")
    )
    done = real(tmp_path, wrong)
    assert 1 == done.returncode
    assert f"fast.model: {address} has no model 'digits_fats' — did you mean 'digits_fast'?" in done.stdout
    assert f"accurate-v2.version: {address} has no version '7' of model 'digits_accurate'; it has '1', '2'" in done.stdout
    assert "stages[1].use: output 'label' of 'balanced' is INT64 [-1, 1]: max-softmax needs probabilities" in done.stdout
    assert "4 problems" in done.stdout  # version 2 stands there twice


@pytest.mark.slow
def test_a_real_triton_that_hangs(triton: Triton, tmp_path: Path) -> None:
    """Is given up on in time; after two seconds somebody says who is being waited for."""
    policy = POLICY.format(triton.http)
    triton.process.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        done = real(tmp_path, policy, "--timeout", "3s")
        assert time.monotonic() - start < 6.0
    finally:
        triton.process.send_signal(signal.SIGCONT)
    assert 1 == done.returncode
    assert f"still waiting for {triton.http} (triton) …\n" == done.stderr
    assert f"endpoints[0]: {triton.http} did not answer within 3 s\n" in done.stdout
    assert 0 == real(tmp_path, policy).returncode
