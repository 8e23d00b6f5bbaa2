"""Who is asking."""

from __future__ import annotations

import pytest

from routing.cascade.audits import Audit
from routing.principal import Principal, Sparing, spared
from routing.shadow.shadows import Shadow

WHOSE = frozenset({"t"}), frozenset({"u"})
AUDIT = Audit(0.1, tenants=WHOSE[0], tiers=WHOSE[1])
SHADOW = Shadow("dark", "live", "next", 1.0, tenants=WHOSE[0], tiers=WHOSE[1])


@pytest.mark.parametrize("by", [AUDIT, SHADOW])
def test_spared(by: Sparing) -> None:
    """By tenant or by tier; who has none is nobody's."""
    callers = (Principal("a"), Principal("a", "t"), Principal("a", "x", "u"), Principal("t", "x", "y"))
    assert [False, True, True, False] == [spared(by, each) for each in callers]
