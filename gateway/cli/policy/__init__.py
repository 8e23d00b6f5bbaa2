"""`penstock policy …`: tells a policy's author what it would do before anybody else finds out. One module for each word."""

from __future__ import annotations

import argparse

from gateway.cli.policy import backtest, check, diff, explain, history, rollback, schema, seal, test

_EXAMPLE = """example:
  penstock policy check config/policy.yaml
  penstock policy check --json config/policy.yaml | jq '.problems[].line'
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `policy` to the command line; the parsed arguments carry `run`, which takes them and returns the exit status."""
    raw = argparse.RawDescriptionHelpFormatter
    policy = subparsers.add_parser(
        "policy", help="check, explain, test and compare policies", epilog=_EXAMPLE, formatter_class=raw
    )
    commands = policy.add_subparsers(dest="policy_command", required=True, metavar="COMMAND")
    for command in (check, diff, backtest, explain, history, rollback, schema, seal, test):
        command.add_parser(commands)
