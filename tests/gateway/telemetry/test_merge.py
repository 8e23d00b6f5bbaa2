"""Expositions of several processes made one, read by Prometheus' own parser."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.merge import Totals
from gateway.telemetry.metrics import Metrics, ParentMetrics
from gateway.telemetry.record import RequestRecord


def told(requests: int, in_flight: int = 0) -> bytes:
    """What a worker that has answered so many tells."""
    metrics = Metrics(lambda: {"b": in_flight})
    metrics.policy_loaded("v1")
    for _ in range(requests):
        metrics.requested(RequestRecord("id", "POST", "/", "peer", model="m", route="r", code="200", seconds=0.003))
    return metrics.exposition()


def read(text: bytes) -> dict[str, float]:
    """Every sample as written; raises where Prometheus would."""
    list(text_string_to_metric_families(text.decode()))
    lines = (line.rpartition(" ") for line in text.decode().splitlines() if line and not line.startswith("#"))
    found = [(start, float(value)) for start, _, value in lines]
    assert len(found) == len(dict(found))  # no sample twice
    return dict(found)


def test_counters_histograms_and_gauges_add_up() -> None:
    """Samples with the same labels are one; an information is not counted, and the oldest start is the start."""
    parts = [told(3, in_flight=1), told(4, in_flight=2)]
    found = read(Totals(ParentMetrics.WHOLE).exposition(parts, ParentMetrics().exposition(2)))
    assert 7 == found['penstock_requests_total{model="m",route="r",variant="",code="200"}']
    assert 7 == found['penstock_request_seconds_bucket{model="m",route="r",le="0.005"}']
    assert 0 == found['penstock_request_seconds_bucket{model="m",route="r",le="0.0025"}']
    assert 7 == found['penstock_request_seconds_count{model="m",route="r"}']
    assert abs(0.021 - found['penstock_request_seconds_sum{model="m",route="r"}']) < 1e-9
    assert 3 == found['penstock_in_flight{backend="b"}']
    assert 1 == found['penstock_policy_info{version="v1"}']
    assert 2 == found["penstock_workers"]
    assert read(parts[0])["process_start_time_seconds"] == found["process_start_time_seconds"]
    assert found["process_resident_memory_bytes"] > 2 * read(parts[0])["process_resident_memory_bytes"]


def test_what_counts_once_for_all_is_the_parents() -> None:
    """Two workers that follow one reload are one reload."""
    own = ParentMetrics()
    own.policy_loaded()
    found = read(Totals(ParentMetrics.WHOLE).exposition([told(0), told(0)], own.exposition(2)))
    assert 1 == found['penstock_policy_reloads_total{result="ok"}']


def test_what_ended_stays_counted_and_holds_nothing() -> None:
    """Counters and histograms remain; questions in flight and memory are gone."""
    totals = Totals()
    totals.ended(told(5, in_flight=9))
    totals.ended(told(1))
    found = read(totals.exposition([told(2, in_flight=1)], b""))
    assert 8 == found['penstock_requests_total{model="m",route="r",variant="",code="200"}']
    assert 1 == found['penstock_in_flight{backend="b"}']


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["count", "die", "scrape"])), max_size=30))
def test_no_total_ever_falls(events: list[tuple[int, str]]) -> None:
    """However three workers count, die and are scraped in turn."""
    totals, live, seen, before = Totals(), [0, 0, 0], [b"", b"", b""], 0.0
    for worker, event in events:
        if event == "count":
            live[worker] += 1
        elif event == "scrape":
            seen = [told(count) for count in live]
        else:
            totals.ended(seen[worker])
            live[worker], seen[worker] = 0, b""
        now = sum(
            value for name, value in read(totals.exposition(seen, b"")).items() if name.startswith("penstock_requests_total")
        )
        assert before <= now
        before = now
