"""Clusters for work beside requests: which are kept, which close, which are drained."""

from __future__ import annotations

from gateway.admin.drains import Drained
from gateway.compile import cluster
from gateway.own_clusters import OwnClusters, own
from gateway.snapshot import ClusterSpec
from gateway.spawner import Spawner

SPEC = ClusterSpec("triton", "triton-http", (("127.0.0.1", 1),), "least-request")


async def test_what_did_not_change_is_kept() -> None:
    """By model, owner and backend; another room is another cluster, and the one before closes."""
    spawner = Spawner()
    clusters = OwnClusters(spawner.spawn)

    def renew(**rooms: int) -> None:
        wanted = {("digits", name, "triton"): own(SPEC, room) for name, room in rooms.items()}
        clusters.renew(wanted, lambda spec: cluster(spec, lambda *_: None))

    renew(one=1, two=2)
    before = {name: clusters.of("digits", name)["triton"] for name in ("one", "two")}
    assert before["one"] is not before["two"]
    renew(one=1, two=3)
    assert before["one"] is clusters.of("digits", "one")["triton"]
    assert before["two"] is not clusters.of("digits", "two")["triton"]
    assert 1 == len(spawner)
    renew()
    assert {} == clusters.of("digits", "one")
    await clusters.close()
    await spawner.close()


async def test_what_is_drained_stays_so() -> None:
    """Also of clusters that come later."""
    clusters = OwnClusters(Spawner().spawn)
    clusters.hold(Drained(endpoints=frozenset({("triton", "127.0.0.1:1")})))
    clusters.renew({("digits", "one", "triton"): own(SPEC, 1)}, lambda spec: cluster(spec, lambda *_: None))
    assert all(endpoint.drained for endpoint in clusters.of("digits", "one")["triton"].endpoints)
    await clusters.close()
