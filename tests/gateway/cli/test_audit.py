"""`penstock audit` against a port that answers as the admin API does."""

from __future__ import annotations

import json

import msgspec
import pytest

from gateway.audit.report import Standing, report
from gateway.cli import main
from routing.cascade.audit import Watch, observe
from routing.cascade.audits import Audit
from tests.gateway.cli.test_rollout import Admin, admin

__all__ = ["admin"]


def told(wrong: int, alarm: float = 0.0) -> dict[str, object]:
    watch = observe(Watch(), 0.01, [(0, 1)] * 100 + [(1, 1)] * wrong)
    seen = {"same": 100, "different": wrong, "timeout": 3}
    standing = Standing("digits", "default", "e", 1000.0, watch, alarm, seen, 4000.0)
    found: dict[str, object] = json.loads(msgspec.json.encode(report(standing, Audit(0.01, falls=True), "accurate")))
    return found


def run(admin: Admin, *arguments: str) -> int:
    return main(["audit", *arguments, "--admin", f"http://127.0.0.1:{admin.server_port}"])


def test_list(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each; 0 where all is well, 1 where something is in alarm."""
    admin.content = {"audits": [told(1)]}
    assert 0 == run(admin, "list")
    assert "digits/default  watching  0.99 % [" in capsys.readouterr().out
    admin.content = {"audits": [told(1), told(50, 2000.0)]}
    assert 1 == run(admin, "list", "--json")
    assert admin.content == json.loads(capsys.readouterr().out)
    admin.content = {"audits": []}
    assert 0 == run(admin, "list")
    assert "docs/audit.md" in capsys.readouterr().out


def test_show(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was not judged, and in alarm what to do."""
    admin.content = told(1)
    assert 0 == run(admin, "show", "digits/default")
    out = capsys.readouterr().out
    assert "1 % of the kept rows are held against accurate" in out
    assert "3 drawn and not judged: timeout 3" in out
    assert "the alarm is at 1" in out
    admin.content = told(50, 2000.0)
    assert 1 == run(admin, "show", "digits/default")
    assert "alarm since 1970-01-01T00:33:20Z: find thresholds" in capsys.readouterr().out


def test_resume(admin: Admin) -> None:
    """Asks for it with the reason."""
    admin.content = told(0)
    assert 0 == run(admin, "resume", "digits/default", "--why", "renamed")
    assert [("POST", "/api/audits/digits/default/resume", {"why": "renamed"})] == admin.asked


def test_no_and_used_wrongly(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """1 where there is no such audit, 2 where nobody was asked."""
    admin.status, admin.content = 404, {"error": "the policy in force audits no such cascade"}
    assert 1 == run(admin, "show", "digits/no")
    assert "audits no such cascade" in capsys.readouterr().err
    assert 2 == run(admin, "show", "digits")
    admin.status = 401
    assert 2 == run(admin, "list")
