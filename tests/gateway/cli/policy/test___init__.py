"""Tests of gateway.cli.policy."""

from __future__ import annotations

import argparse
import re

import pytest

from gateway.cli.policy import add_parser


def ask_for_help(*words: str) -> None:
    """Its exit status is 0."""
    parser = argparse.ArgumentParser(prog="penstock")
    add_parser(parser.add_subparsers(required=True))
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["policy", *words, "--help"])
    assert 0 == ended.value.code


def test_every_command_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """The help lists the commands, and each command's own help shows how it is used."""
    ask_for_help()
    commands = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert {"check", "seal"} <= set(commands)
    for command in commands:
        ask_for_help(command)
        assert f"penstock policy {command}" in capsys.readouterr().out.partition("\nexample")[2]
