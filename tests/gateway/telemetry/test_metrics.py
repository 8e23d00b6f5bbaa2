"""Events in, Prometheus numbers out, read by Prometheus' own parser."""

from __future__ import annotations

import re
import timeit
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import CLIENT_LEFT, Metrics
from gateway.telemetry.record import RequestRecord
from policies.call import Ending, Observer
from routing.plan import Target

FAST = Target("fast", "triton", "digits_fast", cost=1.0)
ACCURATE = Target("accurate", "triton", "digits_accurate", cost=40.0)
Finished = Callable[..., RequestRecord]


def scraped(metrics: Metrics) -> dict[str, float]:
    """Every sample under the name and labels that it is written with, without the process's own."""
    text = metrics.exposition().decode()
    list(text_string_to_metric_families(text))  # raises where Prometheus would
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("penstock_"): float(value) for name, _, value in lines if name.startswith("penstock_")}


def test_metrics_are_an_observer() -> None:
    """What policies tell, metrics take."""
    observer: Observer = Metrics()
    observer.asked("digits", FAST, Ending(1, 0.1, "ok", 1.0))


def test_request_is_counted_timed_and_priced(finished: Finished) -> None:
    """One answered request moves every family it belongs to by exactly itself."""
    metrics = Metrics()
    metrics.requested(finished(variant="fast,accurate", shares=(("fast", 29), ("accurate", 3)), baseline=1280.0))
    found = scraped(metrics)
    assert 1 == found['requests_total{model="digits",route="default",variant="fast,accurate",code="200"}']
    assert 1 == found['request_seconds_count{model="digits",route="default"}']
    assert 0.004 == found['request_seconds_sum{model="digits",route="default"}']
    assert 0.0003 == found['overhead_seconds_sum{model="digits"}']
    assert 29 == found['rows_total{model="digits",variant="fast"}']
    assert 3 == found['rows_total{model="digits",variant="accurate"}']
    assert 1280 == found['cost_baseline_total{model="digits"}']


def test_a_record_that_is_told_again(finished: Finished) -> None:
    """Counts once more, by its new numbers, where another like it does, also once a policy was loaded."""
    metrics, record = Metrics(), finished(seconds=0.004)
    metrics.requested(record)
    record.seconds = 0.006
    metrics.requested(record)
    metrics.policy_loaded("two")
    metrics.requested(record)
    metrics.requested(finished(seconds=0.01))
    found = scraped(metrics)
    assert 4 == found['requests_total{model="digits",route="default",variant="fast",code="200"}']
    assert pytest.approx(0.026) == found['request_seconds_sum{model="digits",route="default"}']


def test_a_request_that_outlives_its_policy(finished: Finished) -> None:
    """Is counted as what its route was, and those after it as what it is."""
    metrics = Metrics()
    metrics.policy_loaded("two")
    for cascade in (False, True, False):
        metrics.requested(finished(cascade=cascade, baseline=40.0))
    found = scraped(metrics)
    parts = [found[f'cost_baseline_part_total{{model="digits",part="{part}"}}'] for part in ("route", "cascade")]
    assert [80.0, 40.0] == parts


def test_cost_is_what_the_answers_of_all_stages_cost(finished: Finished) -> None:
    """Each stage's rows at its own price; the total is the record's."""
    metrics = Metrics()
    metrics.asked("digits", FAST, Ending(32, 0.001, "ok", 32.0))
    metrics.asked("digits", ACCURATE, Ending(3, 0.002, "ok", 120.0))
    metrics.requested(finished(cost=32 * 1.0 + 3 * 40.0))
    found = scraped(metrics)
    assert 32 == found['cost_total{model="digits",variant="fast"}']
    assert 120 == found['cost_total{model="digits",variant="accurate"}']
    assert 0.001 == found['backend_seconds_sum{backend="triton",variant="fast"}']


@pytest.mark.parametrize(("outcome", "cost"), [("broken", 0.0), ("deadline", 32.0), ("abandoned", 32.0)])
def test_an_ask_is_counted_with_what_it_has_cost(outcome: str, cost: float) -> None:
    """However it ended: who says what that is are the policies."""
    metrics = Metrics()
    metrics.asked("digits", FAST, Ending(32, 0.5, outcome, cost))
    found = scraped(metrics)
    assert cost == found['cost_total{model="digits",variant="fast"}']
    assert 1 == found['backend_seconds_count{backend="triton",variant="fast"}']
    assert (1, 32) == (
        found['asks_total{model="digits",variant="fast"}'],
        found['asked_rows_total{model="digits",variant="fast"}'],
    )


@pytest.mark.parametrize("outcome", ["ok", "broken", "deadline", "overtaken", "abandoned"])
def test_only_attempts_that_nobody_waits_for_are_abandoned(outcome: str) -> None:
    """Who lost a race was waited for until then."""
    metrics = Metrics()
    metrics.sent("triton", "a:1", outcome)
    assert (1 if outcome == "abandoned" else None) == scraped(metrics).get('abandoned_total{stage="backend"}')


def test_refusals_and_departures_are_counted_by_their_reason(finished: Finished) -> None:
    """Load refused and clients gone have families of their own; other errors do not enter them."""
    metrics = Metrics()
    metrics.requested(finished(code="503", reason="max-in-flight"))
    metrics.requested(finished(code="499", reason=CLIENT_LEFT))
    metrics.requested(finished(code="400", reason="shape"))
    found = scraped(metrics)
    assert {'shed_total{reason="max-in-flight"}': 1} == {name: n for name, n in found.items() if name.startswith("shed")}
    assert {'abandoned_total{stage="request"}': 1} == {name: n for name, n in found.items() if name.startswith("abandoned")}


def test_steps_between_targets_are_counted_apart() -> None:
    """Unsure rows are escalations, errors are fallbacks."""
    metrics = Metrics()
    metrics.escalated("digits", "fast", "accurate", "asked")
    metrics.escalated("digits", "fast", "accurate", "deadline")
    metrics.fell_back("digits", "accurate", "balanced")
    metrics.sent("triton", "127.0.0.1:8000", "ok")
    found = scraped(metrics)
    assert 1 == found['escalations_total{model="digits",from="fast",to="accurate",outcome="asked"}']
    assert 1 == found['escalations_total{model="digits",from="fast",to="accurate",outcome="deadline"}']
    assert 1 == found['fallbacks_total{model="digits",from="accurate",to="balanced"}']
    assert 1 == found['backend_requests_total{backend="triton",endpoint="127.0.0.1:8000",outcome="ok"}']


def test_limits_that_refuse() -> None:
    """Each by its name in the policy."""
    metrics = Metrics()
    for name in ("free", "free", "batch"):
        metrics.limited(name)
    found = scraped(metrics)
    assert (2, 1) == (found['limited_total{limit="free"}'], found['limited_total{limit="batch"}'])


def test_one_policy_version_is_in_force() -> None:
    """After a reload only the new version is shown; a refused one changes nothing but its count."""
    metrics = Metrics()
    metrics.policy_loaded("one")
    metrics.policy_loaded("two")
    metrics.policy_refused()
    found = scraped(metrics)
    assert {'policy_info{version="two"}': 1} == {name: n for name, n in found.items() if name.startswith("policy_info")}
    assert (2, 1) == (found['policy_reloads_total{result="ok"}'], found['policy_reloads_total{result="refused"}'])


def test_in_flight_is_read_when_scraped() -> None:
    """The gauge says what is true now; a backend that went away goes from it."""
    held = {"triton": 3, "old": 1}
    metrics = Metrics(lambda: held)
    scraped(metrics)
    held.pop("old")
    held["triton"] = 2
    found = scraped(metrics)
    assert {'in_flight{backend="triton"}': 2} == {name: n for name, n in found.items() if name.startswith("in_flight")}


def test_endpoints_and_repeats() -> None:
    """Which endpoints take questions is read when scraped; what was asked once more is counted by why."""
    serving = [("triton", "a:1", True), ("triton", "b:1", False)]
    metrics = Metrics()
    metrics.serving = lambda: serving
    metrics.repeated("triton", "late")
    found = scraped(metrics)
    assert (1, 0) == (
        found['endpoint_up{backend="triton",endpoint="a:1"}'],
        found['endpoint_up{backend="triton",endpoint="b:1"}'],
    )
    assert 1 == found['repeats_total{backend="triton",why="late"}']
    serving.pop()
    assert 'endpoint_up{backend="triton",endpoint="b:1"}' not in scraped(metrics)


def test_issuers() -> None:
    """Whose keys could be had is read when scraped."""
    metrics = Metrics()
    metrics.issuers = lambda: [("https://a", True), ("https://b", False)]
    found = scraped(metrics)
    assert (1, 0) == (found['issuer_up{issuer="https://a"}'], found['issuer_up{issuer="https://b"}'])


def test_the_store() -> None:
    """Questions are counted by how they went, and timed unless nobody was asked; where there is none, nothing is told."""
    metrics = Metrics()
    assert not [name for name in scraped(metrics) if name.startswith("store")]
    metrics.store_up = lambda: True
    for outcome, seconds in (("ok", 0.0004), ("late", 0.05), ("away", 0.0)):
        metrics.stored(outcome, seconds)
    found = scraped(metrics)
    assert [1, 1, 1] == [found[f'store_requests_total{{outcome="{outcome}"}}'] for outcome in ("ok", "late", "away")]
    assert (1, 2, 1) == (found["store_up"], found["store_seconds_count"], found['store_seconds_bucket{le="0.0005"}'])
    metrics.store_up = lambda: False
    assert 0 == scraped(metrics)["store_up"]


def test_answers_in_the_store() -> None:
    """Counted one by one, by what became of them: what is a hit and is not among them was in memory."""
    metrics = Metrics()
    for outcome, count in (("found", 3), ("missing", 1), ("found", 2)):
        metrics.shared(outcome, count)
    found = scraped(metrics)
    assert (5, 1) == tuple(found[f'cache_store_total{{outcome="{outcome}"}}'] for outcome in ("found", "missing"))


def test_every_name_is_one_that_users_were_promised(finished: Finished) -> None:
    """Families have Prometheus' endings: counters `_total`, histograms `_seconds`."""
    metrics = Metrics(lambda: {"triton": 0})
    metrics.requested(finished(reason="max-in-flight"))
    metrics.asked("digits", FAST, Ending(1, 0.1, "abandoned", 1.0))
    metrics.policy_loaded("one")
    types = re.findall(r"^# TYPE penstock_(\S+) (\S+)$", metrics.exposition().decode(), re.MULTILINE)
    endings = {"counter": "_total", "histogram": "_seconds", "gauge": ""}
    assert [] == [name for name, kind in types if not name.endswith(endings[kind])]


def test_request_costs_microseconds(finished: Finished) -> None:
    """All counting for one request stays below the 10 µs that it may take (measured: 1, on a quiet machine)."""
    metrics, record = Metrics(), finished()

    def one() -> None:
        metrics.asked("digits", FAST, Ending(32, 0.0037, "ok", 32.0))
        metrics.requested(record)

    assert min(timeit.repeat(one, number=1000, repeat=20)) / 1000 < 10e-6


def test_lanes_are_read_when_scraped() -> None:
    """Each model's limit at each backend, and how many wait; a model that is gone is told no more."""
    metrics = Metrics()
    lanes = [("triton", "a", 32, 0), ("triton", "b", 2, 7)]
    metrics.lanes = lambda: lanes
    assert 2 == scraped(metrics)['concurrency_limit{backend="triton",model="b"}']
    assert 7 == scraped(metrics)['waiting{backend="triton",model="b"}']
    lanes.pop()
    assert ['waiting{backend="triton",model="a"}'] == [name for name in scraped(metrics) if name.startswith("waiting")]
