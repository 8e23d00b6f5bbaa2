"""Every alert is about metrics that there are, and has its entry in the runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from gateway.telemetry.metrics import Metrics, ParentMetrics
from gateway.telemetry.series import Distributions, Numbers
from tests.docs.pages import DOCS, ROOT, prose

RULES = ROOT / "config" / "prometheus" / "alerts.yaml"
ALERTS: list[dict[str, Any]] = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
PROMTOOL = shutil.which("promtool")


def families() -> dict[str, tuple[str, ...]]:
    """Every series that can be asked for, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    metrics = Metrics()
    audits = (*metrics.audits.families(), *metrics.audited.families())
    for each in (*vars(metrics).values(), *vars(ParentMetrics()).values(), *audits):
        if isinstance(each, Numbers):
            found[each._name] = tuple(each._labels)
        elif isinstance(each, Distributions):
            found[f"{each._name}_bucket"] = (*each._labels, "le")
    return found


def test_every_alert_has_its_entry() -> None:
    """In the alerts' order, each of which links to its own."""
    headings = re.findall(r"^## (.+)$", prose(DOCS / "runbook.md"), re.MULTILINE)
    assert [alert["alert"] for alert in ALERTS] == headings
    for alert in ALERTS:
        assert f"docs/runbook.md#{alert['alert'].lower()}" == alert["annotations"]["runbook"]
        assert alert["labels"]["severity"] in ("page", "ticket")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_asks_for_what_there_is(alert: dict[str, Any]) -> None:
    """Its series and their labels are ours, or every Prometheus' own."""
    known = families()
    asked = re.findall(r"(penstock_[a-z_]+)(?:\{([^}]*)\})?", alert["expr"])
    assert asked
    labels = {label for name, _ in asked for label in known[name]} | {"instance"}
    used = {label for _, matchers in asked for label in re.findall(r"(\w+)[=!]", matchers)}
    used |= {label.strip() for names in re.findall(r"by \(([^)]*)\)", alert["expr"]) for label in names.split(",")}
    assert set() == used - labels


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (Debian: prometheus)")
def test_alerts_fire_on_their_symptoms() -> None:
    """As Prometheus' own tool judges the rules' tests."""
    subprocess.run(["promtool", "test", "rules", "alerts-test.yaml"], cwd=RULES.parent, check=True, timeout=60)


def test_every_alert_is_tested() -> None:
    """Each fires in some test of the rules."""
    tests = yaml.safe_load(RULES.with_name("alerts-test.yaml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert {alert["alert"] for alert in ALERTS} == fired
