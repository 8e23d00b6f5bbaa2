"""What is said of an audit."""

from __future__ import annotations

import msgspec

from gateway.audit.report import Standing, report
from routing.cascade.audits import Audit
from routing.cascade.watch import Watch, observe

AUDIT = Audit(0.01, falls=True, epoch="e")


def standing(seen: list[tuple[int, int]], alarm: float = 0.0, **outcomes: int) -> Standing:
    return Standing("digits", "default", "e", 1000.0, observe(Watch(), 0.01, seen), alarm, outcomes, 40.0)


def test_nothing_yet() -> None:
    """Says so."""
    found = report(standing([]), AUDIT, "dear")
    assert ("watching", "no row has been audited yet", "", "1970-01-01T00:16:40Z") == (
        found.state,
        found.text,
        found.alarm,
        found.began,
    )


def test_as_promised() -> None:
    """The rate with its interval, and what was not judged."""
    found = report(standing([(0, 1)] * 199 + [(1, 1)], same=199, different=1, late=3, timeout=2), AUDIT, "dear")
    assert ("watching", 200, 1, 5, "") == (found.state, found.requests, found.different, found.dropped, found.suggestion)
    assert found.rate.low < 0.005 < found.rate.high
    assert found.text.startswith("0.5 % [")
    assert 0 < found.evidence < 1
    assert found == msgspec.json.decode(msgspec.json.encode(found), type=type(found))


def test_the_alarm() -> None:
    """How bad it is since it became so, and what to do about it."""
    found = report(standing([(0, 1)] * 400 + [(1, 2)] * 40, 2000.0), AUDIT, "dear")
    assert ("fallen", "1970-01-01T00:33:20Z", 40) == (found.state, found.alarm, found.recent_requests)
    assert "50 % in the last 40" in found.text
    assert "the dearest stage answers alone" in found.text
    assert "penstock calibrate ROWS --policy POLICY --model digits --route default --keep 99%, with" in found.suggestion
    assert "penstock audit resume digits/default" in found.suggestion
    assert "alarm" == report(standing([(1, 1)] * 40, 2000.0), msgspec.structs.replace(AUDIT, falls=False), "dear").state
