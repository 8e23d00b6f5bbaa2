"""`penstock policy schema`: the JSON Schema of the policy document, for editors, or the page that is made of it, for people."""

from __future__ import annotations

import argparse
import json

from gateway.configuration.json_schema import json_schema
from gateway.configuration.reference import Page, reference
from gateway.configuration.schema_gateway import GatewayDocument
from gateway.configuration.schema_policy import PolicyDocument

_EXAMPLE = """example:
  penstock policy schema > config/policy.schema.json
  penstock policy schema --reference > docs/policy-reference.md
  penstock policy schema --gateway | jq '.properties | keys'

An editor with the YAML language server completes and checks a policy whose first line is
  # yaml-language-server: $schema=policy.schema.json

exit status: 0
"""
_POLICY = Page(
    "Policy reference",
    "config/policy.yaml",
    "penstock policy schema",
    "How to write one: [policy.md](policy.md). Whether what a policy says makes sense, `penstock policy check` tells.\n",
)
_GATEWAY = Page("Gateway reference", "config/gateway.yaml", "penstock policy schema --gateway")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `schema`."""
    about = "print the JSON Schema of the policy document, or the reference page made of it"
    raw = argparse.RawDescriptionHelpFormatter
    schema = commands.add_parser("schema", help=about, description=about, epilog=_EXAMPLE, formatter_class=raw)
    schema.add_argument("--gateway", action="store_true", help="of gateway.yaml instead")
    schema.add_argument("--reference", action="store_true", help="a page in Markdown instead of JSON")
    schema.set_defaults(run=run_schema)


def run_schema(arguments: argparse.Namespace) -> int:
    """Prints it; 0."""
    document, page = (GatewayDocument, _GATEWAY) if arguments.gateway else (PolicyDocument, _POLICY)
    schema = json_schema(document, f"Penstock: {page.file}")
    print(reference(schema, page) if arguments.reference else json.dumps(schema, indent=2, ensure_ascii=False))
    return 0
