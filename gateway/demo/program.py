"""The demo from its command line to its exit status: everything is started, shown or kept up, and ended whatever happens."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gateway.demo import heldout, policy, table
from gateway.demo.client import GrpcClient, HttpClient, Tally
from gateway.demo.expect import StartError, WrongError
from gateway.demo.heldout import HeldOut
from gateway.demo.policy import Policy
from gateway.demo.processes import ROOT, Ports, make_credentials, start_gateway, start_triton
from gateway.demo.setting import Setting
from gateway.demo.show import play
from gateway.demo.stay import introduction

HELD_OUT = ROOT / ".cache" / "serving" / "trained" / "held_out.npz"
POLICY = ROOT / "config" / "policy.yaml"
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # a closed terminal ends both programs too


@dataclass(frozen=True, slots=True)
class Start:
    """What is there before the gateway starts: a folder of its own, the running `triton.Server`, the digits, the ports."""

    folder: Path
    triton: Any
    held_out: HeldOut
    ports: Ports


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; `ports` is added to what was given."""
    parser = argparse.ArgumentParser(
        "python -m gateway.demo", description=__doc__, epilog="example: make demo OPTIONS=--free-ports"
    )
    parser.add_argument("--stay", action="store_true", help="start, print where everything is, and stay up until Ctrl-C")
    parser.add_argument("--free-ports", action="store_true", help="any free port for everything that is not given")
    defaults = Ports()
    for each in fields(Ports):
        usual = getattr(defaults, each.name)
        parser.add_argument(
            f"--{each.name.replace('_', '-')}", type=port_number, metavar="PORT", help=f"default {usual}; 0: any free one"
        )
    given = parser.parse_args(arguments)
    chosen = {each.name: getattr(given, each.name) for each in fields(Ports) if getattr(given, each.name) is not None}
    given.ports = Ports(**({each.name: 0 for each in fields(Ports)} | chosen if given.free_ports else chosen))
    return given


def port_number(text: str) -> int:
    """A port from the command line."""
    if not 0 <= (port := int(text)) <= 65535:
        raise ValueError(text)  # argparse says it
    return port


def main(arguments: Sequence[str]) -> int:
    """0: all that was shown is right (or --stay was asked to end); 1: something is not right or not there; 2: used wrongly."""
    options = parse(arguments)
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # type: ignore[union-attr]
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    for number in _ENDINGS:
        signal.signal(number, signal.default_int_handler)  # all of them unwind through `with`
    try:
        _run(options)
    except StartError as error:
        print(f"\ncannot start: {error}", file=sys.stderr)
        return 1
    except WrongError as error:
        print(f"\nNOT RIGHT: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped" if options.stay else "\ninterrupted; everything is stopped", file=sys.stderr)
        return 0 if options.stay else 1
    return 0


def _run(options: argparse.Namespace) -> None:
    begin = time.monotonic()
    held_out, asked = heldout.load(HELD_OUT), policy.read(POLICY)
    ports = options.ports.claimed()
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-")))
            print("· starting Triton with the example models (about 10 s)")
            triton = stack.enter_context(start_triton(ports, print))
            print("· starting the gateway")
            start = Start(folder, triton, held_out, ports)
            if options.stay:
                _stay(stack, start, asked)
            else:
                _show(stack, start, asked)
        finally:
            for number in _ENDINGS:
                signal.signal(number, signal.SIG_IGN)  # what is being ended is ended to the end: nothing may stay behind
            print("· stopping everything")
    if not options.stay:
        print(f"\nEvery line was checked as it ran, against answers computed offline. {time.monotonic() - begin:.0f} s in all.")


def _show(stack: ExitStack, start: Start, asked: Policy) -> None:
    """Plays the scenes. The policy is a copy, because they change it."""
    asked = asked.at(start.triton.http, start.triton.grpc).with_comparisons()
    file = start.folder / "policy.yaml"
    asked.write(file)
    credentials = make_credentials(start.folder)
    gateway = start_gateway(start.folder, start.ports, file)
    stack.callback(gateway.stop)
    print(f"    the gateway is ready on {gateway.http} (HTTP), {gateway.grpc} (gRPC) and {gateway.admin} (admin)")
    tally = Tally()
    http, grpc = HttpClient(gateway.http, tally), GrpcClient(gateway.grpc, tally)
    stack.callback(http.close)
    stack.callback(grpc.close)
    try:
        play(Setting(gateway, start.triton, asked, start.held_out, credentials, tally, http, grpc), print, _under_way)
    except WrongError as error:
        raise WrongError(f"{error}\n  the end of the gateway's log:\n{gateway.log()}") from error


def _under_way(what: str) -> None:
    """What is being done now, on a terminal only: the line that tells its end is written over it."""
    if sys.stdout.isatty():
        print(f"  ... {what:{table.TITLE}}", end="\r", flush=True)


def _stay(stack: ExitStack, start: Start, asked: Policy) -> None:
    """Prints where everything is and waits. Raises StartError when one of the two ends by itself."""
    here = asked.at(start.triton.http, start.triton.grpc)
    file = POLICY  # itself if it can be: what is edited is what runs
    if here != asked:
        file = start.folder / "policy.yaml"
        here.write(file)
    credentials = make_credentials(start.folder)
    gateway = start_gateway(start.folder, start.ports, file)
    stack.callback(gateway.stop)
    print(introduction(gateway, credentials, start.held_out))
    while gateway.process.poll() is None:
        if start.triton.process.poll() is not None:
            raise StartError(f"Triton ended by itself:\n{start.triton.last_lines()}")
        time.sleep(0.2)
    raise StartError(f"the gateway ended by itself:\n{gateway.log()}")
