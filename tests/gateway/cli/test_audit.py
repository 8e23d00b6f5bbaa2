"""`penstock audit` against a port that answers as the admin API does."""

from __future__ import annotations

import json

import msgspec
import pytest

from gateway.audit.report import Standing, report
from gateway.cli import main
from routing.cascade.audits import Audit
from routing.cascade.watch import Watch, observe
from tests.gateway.cli.conftest import Gateway


def told(wrong: int, alarm: float = 0.0) -> dict[str, object]:
    watch = observe(Watch(), 0.01, [(0, 1)] * 100 + [(1, 1)] * wrong)
    seen = {"same": 100, "different": wrong, "timeout": 3}
    standing = Standing("digits", "default", "e", 1000.0, watch, alarm, seen, 4000.0)
    found: dict[str, object] = json.loads(msgspec.json.encode(report(standing, Audit(0.01, falls=True), "accurate")))
    return found


def run(gateway: Gateway, *arguments: str) -> int:
    return main(["audit", *arguments, "--admin", gateway.url])


def test_list(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each; 0 where all is well, 1 where something is in alarm."""
    gateway.says = (200, {"audits": [told(1)]})
    assert 0 == run(gateway, "list")
    assert "digits/default  watching  0.99 % [" in capsys.readouterr().out
    gateway.says = (200, {"audits": [told(1), told(50, 2000.0)]})
    assert 1 == run(gateway, "list", "--json")
    assert gateway.says[1] == json.loads(capsys.readouterr().out)
    gateway.says = (200, {"audits": []})
    assert 0 == run(gateway, "list")
    assert "docs/audit.md" in capsys.readouterr().out


def test_show(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was not judged, and in alarm what to do."""
    gateway.says = (200, told(1))
    assert 0 == run(gateway, "show", "digits/default")
    out = capsys.readouterr().out
    assert "1 % of the kept rows are held against accurate" in out
    assert "3 drawn and not judged: timeout 3" in out
    assert "the alarm is at 1" in out
    gateway.says = (200, told(50, 2000.0))
    assert 1 == run(gateway, "show", "digits/default")
    assert "alarm since 1970-01-01T00:33:20Z: penstock calibrate ROWS" in capsys.readouterr().out


def test_resume(gateway: Gateway) -> None:
    """Asks for it with the reason."""
    gateway.says = (200, told(0))
    assert 0 == run(gateway, "resume", "digits/default", "--why", "renamed")
    method, path, _, body = gateway.asked
    assert ("POST", "/api/audits/digits/default/resume", {"why": "renamed"}) == (method, path, json.loads(body))


def test_no_and_used_wrongly(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """1 where there is no such audit, 2 where nobody was asked."""
    gateway.says = (404, {"error": "the policy in force audits no such cascade"})
    assert 1 == run(gateway, "show", "digits/no")
    assert "audits no such cascade" in capsys.readouterr().err
    assert 2 == run(gateway, "show", "digits")
    gateway.says = (401, {"error": "no"})
    assert 2 == run(gateway, "list")
