"""Counting connections by where they come from."""

from __future__ import annotations

from gateway.edge.addresses import Addresses


def test_every_ipv4_address_has_its_own_count() -> None:
    """Coming adds, going takes away, and what is at nothing is forgotten."""
    counts = Addresses()
    assert [1, 2, 1] == [counts.come(peer) for peer in ("192.0.2.1", "192.0.2.1", "192.0.2.2")]
    counts.gone("192.0.2.1")
    assert 2 == counts.come("192.0.2.1")
    for peer in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        counts.gone(peer)
    assert 0 == len(counts)


def test_an_ipv6_network_has_one_count() -> None:
    """Addresses of one /64 are one client's; a zone does not matter, nor does an address that nobody knows."""
    counts = Addresses()
    assert [1, 2, 1, 1, 2] == [
        counts.come(peer) for peer in ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1", "fe80::1%eth0", "fe80::2")
    ]
    assert 1 == counts.come("")
