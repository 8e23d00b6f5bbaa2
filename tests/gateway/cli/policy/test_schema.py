"""Tests of gateway.cli.policy.schema: what it prints is what lies in the repository."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import jsonschema
import pytest

from gateway.cli.policy.schema import add_parser
from gateway.configuration.json_schema import json_schema
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.configuration.schema_policy import PolicyDocument
from tests.docs.pages import DOCS, ROOT

POLICIES = [ROOT / "config" / "policy.yaml", *sorted((ROOT / "config" / "examples").glob("*.yaml"))]


def run(*arguments: str) -> int:
    """The exit status of `schema …`."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["schema", *arguments])
    status: int = parsed.run(parsed)
    return status


def test_the_repositorys_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Is what the command prints: `penstock policy schema > config/policy.schema.json`."""
    assert 0 == run()
    printed = capsys.readouterr().out
    assert printed == (ROOT / "config" / "policy.schema.json").read_text("utf-8")
    assert json_schema(PolicyDocument, "Penstock: config/policy.yaml") == json.loads(printed)


def test_the_repositorys_reference_page(capsys: pytest.CaptureFixture[str]) -> None:
    """Is what the command prints: `penstock policy schema --reference > docs/policy-reference.md`."""
    assert 0 == run("--reference")
    assert capsys.readouterr().out == (DOCS / "policy-reference.md").read_text("utf-8")


def test_of_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    """The other file has its schema and its page, too."""
    assert 0 == run("--gateway")
    schema = json.loads(capsys.readouterr().out)
    assert json_schema(GatewayDocument, "Penstock: config/gateway.yaml") == schema
    jsonschema.validate({"workers": 2}, schema)
    assert 0 == run("--gateway", "--reference")
    assert capsys.readouterr().out.startswith("# Gateway reference\n")


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_policies_name_their_schema(path: Path) -> None:
    """In the first line, as the YAML language server reads it, so that an editor completes them."""
    first = path.read_text("utf-8").partition("\n")[0]
    before, _, named = first.partition("# yaml-language-server: $schema=")
    assert "" == before
    assert ROOT / "config" / "policy.schema.json" == (path.parent / named).resolve()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Help shows an example."""
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert 0 == ended.value.code
    assert "penstock policy schema > config/policy.schema.json" in capsys.readouterr().out
