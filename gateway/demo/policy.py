"""The policy that the demo runs: config/policy.yaml as it stands, plus what is needed to compare it with its own parts."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.configuration.load import load_policy
from gateway.configuration.problems import PolicyError
from gateway.configuration.schema_policy import PolicyDocument
from gateway.demo.expect import StartError, WrongError

MODEL = "digits"
ALWAYS = "always_"  # + a variant's name: a model whose only route is that variant


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy document as plain values. `variants` and `route` look at its model `digits`."""

    document: Mapping[str, Any]

    @property
    def variants(self) -> dict[str, dict[str, Any]]:
        """The variants of `digits`, by name."""
        found: dict[str, dict[str, Any]] = self.document["models"][MODEL]["variants"]
        return found

    @property
    def checked(self) -> PolicyDocument:
        """As the gateway reads it."""
        return load_policy(json.dumps(self.document).encode(), "policy.yaml")

    def cost(self, variant: str) -> float:
        """Of one row."""
        return float(self.variants[variant].get("cost", 0))

    def route(self, name: str) -> dict[str, Any]:
        """A route of `digits`. Raises WrongError: the demo shows the routes that the policy came with."""
        for route in self.document["models"][MODEL]["routes"]:
            if route.get("name") == name:
                return dict(route)
        raise WrongError(
            f"the demo shows the route '{name}' of model '{MODEL}' in config/policy.yaml, which has none of that name"
        )

    def stages(self) -> list[tuple[str, float]]:
        """The default route's cascade: variant and accept; the last accepts everything."""
        return [(stage["use"], float(stage.get("accept", 0))) for stage in self.route("default")["cascade"]["stages"]]

    def with_comparisons(self) -> Policy:
        """The same, and for each stage of the cascade a model that always asks it alone."""
        document = copy.deepcopy(dict(self.document))
        for variant, _ in self.stages():
            alone = {variant: self.variants[variant]}
            routes = [{"name": "default", "use": variant}]
            document["models"][ALWAYS + variant] = {"timeout": "10s", "variants": alone, "routes": routes}
        return Policy(document)

    def at(self, http: str, grpc: str) -> Policy:
        """The same, asking a Triton at these addresses (host:port)."""
        document = copy.deepcopy(dict(self.document))
        for backend in document["backends"].values():
            backend["endpoints"] = [grpc if backend["protocol"] == "triton-grpc" else http]
        return Policy(document)

    def with_split(self, route: str, weights: Mapping[str, float]) -> Policy:
        """The same, with other weights in a route of `digits`, and without the tests of who gets which side of it."""
        document = copy.deepcopy(dict(self.document))
        if "tests" in document:
            document["tests"] = [test for test in document["tests"] if test["expect"].get("route") != route]
        for each in document["models"][MODEL]["routes"]:
            if each.get("name") == route:
                each["split"] = dict(weights)
        return Policy(document)

    def write(self, file: Path) -> None:
        """Puts it where the gateway reads it, at one stroke (JSON is YAML)."""
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(self.document, indent=1, ensure_ascii=False))
        fresh.replace(file)


def read(file: Path) -> Policy:
    """The policy in the file. Raises StartError with all that is wrong in it."""
    text = file.read_bytes()
    try:
        load_policy(text, str(file))
    except PolicyError as error:
        raise StartError(f"the policy cannot be used:\n{error}") from None
    return Policy(yaml.safe_load(text))
