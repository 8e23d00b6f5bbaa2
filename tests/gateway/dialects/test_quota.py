"""Tests of gateway.dialects.quota: the draft's own forms."""

from __future__ import annotations

from backends.errors import ErrorKind, InferenceError
from gateway.dialects.quota import quota_headers, quota_of, quota_writer
from gateway.edge.reply import lines
from policies.call import Counted, LimitedError, Quota
from routing.demand import Verdict

COUNTED = (Counted("free", "requests", 200, 2), Counted("free", "bytes", 1048576, 1), Counted("free", "concurrency", 16, 0))
POLICY = '"free";q=200;w=2, "free:bytes";q=1048576;w=1;qu="content-bytes", "free:concurrency";q=16;qu="concurrent-requests"'


def test_headers() -> None:
    """All that counted the question, and what is left of the one that matters: whole seconds, never too few."""
    headers = dict(quota_headers(Quota(COUNTED, Verdict(None, 0.0, 41, 1.2, 0))))
    assert {"ratelimit-policy": POLICY, "ratelimit": '"free";r=41;t=2'} == headers


def test_lines() -> None:
    """The headers as the edge would write them."""
    for told, window in enumerate((2, 1, 0)):
        quota = Quota(COUNTED, Verdict(None, 0.0, 41, window - 0.5, told))
        assert lines(quota_headers(quota)) == quota_writer(COUNTED)(quota.verdict)


def test_a_second_is_not_made_of_nothing() -> None:
    """An hour from a moment on a clock is an hour and a rounding error."""
    quota = Quota(COUNTED, Verdict(None, 0.0, 0, (63_421.1 + 3600) - 63_421.1 + 1e-11, 0))
    assert '"free";r=0;t=3600' == dict(quota_headers(quota))["ratelimit"]


def test_nobody_knows_when_others_end() -> None:
    """Of what is in flight at the same time no reset is told."""
    assert '"free:concurrency";r=3' == dict(quota_headers(Quota(COUNTED, Verdict(None, 0.0, 3, 1.0, 2))))["ratelimit"]


def test_a_refusal() -> None:
    """It carries the same; nothing does that no limit counted."""
    quota = Quota(COUNTED, Verdict(0, 0.5, 0, 2.0, 0))
    assert '"free";r=0;t=2' == dict(quota_of(LimitedError("used up", quota)))["ratelimit"]
    assert () == quota_of(InferenceError(ErrorKind.LIMITED, "another's"))
    assert () == quota_headers(None)
