"""The demo runs the policy that engineers edit, changed only where it must be."""

from pathlib import Path

import pytest

from gateway.compile import blueprint
from gateway.demo.expect import StartError, WrongError
from gateway.demo.policy import Policy, read
from tests.gateway.demo.stage import POLICY, document


def test_the_shipped_policy_has_what_the_demo_shows() -> None:
    """Its routes, and a cascade from the cheapest up."""
    shipped = read(POLICY)
    costs = [shipped.cost(variant) for variant, _ in shipped.stages()]
    assert sorted(costs) == costs
    for name in ("enterprise", "experiment", "preview", "bulk"):
        assert name == shipped.route(name)["name"]


def test_what_the_demo_runs_is_a_policy_the_gateway_takes(tmp_path: Path) -> None:
    """Other addresses, the models for comparison, other weights, as it is written to the file."""
    file = tmp_path / "policy.yaml"
    changed = read(POLICY).at("127.0.0.1:1", "127.0.0.1:2").with_comparisons().with_split("experiment", {"fast": 1})
    changed.write(file)
    blueprint(file.read_bytes(), "policy.yaml")
    found = read(file)
    assert changed == found
    assert {"fast": 1} == found.route("experiment")["split"]
    assert {"always_fast", "always_balanced", "always_accurate"} <= found.document["models"].keys()
    assert ["127.0.0.1:1"] == found.document["backends"]["triton"]["endpoints"]
    assert ["127.0.0.1:2"] == found.document["backends"]["triton-grpc"]["endpoints"]


def test_the_document_read_stays_as_it_was() -> None:
    """Each change makes another policy."""
    policy = Policy(document())
    policy.at("a:1", "b:2").with_split("experiment", {"fast": 1})
    policy.with_comparisons()
    assert Policy(document()) == policy


def test_a_route_that_is_gone_is_named() -> None:
    """Whoever took it out of the policy learns why the demo stops."""
    with pytest.raises(WrongError, match="shows the route 'bulk'"):
        Policy(document()).route("bulk")


def test_a_policy_with_mistakes_is_not_run(tmp_path: Path) -> None:
    """All of them are in the error, with their lines."""
    (tmp_path / "policy.yaml").write_text("version: 1\nmodells: {}\n")
    with pytest.raises(StartError, match=r"policy.yaml:2: modells: unknown key"):
        read(tmp_path / "policy.yaml")
