"""Addresses of hosts."""

from __future__ import annotations

import asyncio

import pytest

from backends.names import Host, look_up


class Zone:
    """A resolver that says what it is told to."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, name: str) -> list[str]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_address_is_its_own(address: str) -> None:
    """No lookup, ever."""
    zone = Zone()
    assert (address,) == await Host(address, zone).addresses()
    assert 0 == zone.asked


async def test_a_name_is_looked_up_again() -> None:
    """A server that moves is found where it is now."""
    host = Host("triton", Zone(["10.0.0.1"], ["10.0.0.2"]), 0.0)
    assert ["10.0.0.1"] == await host.addresses()
    assert ["10.0.0.2"] == await host.addresses()


async def test_the_last_good_addresses_are_kept() -> None:
    """While DNS fails, or knows nothing, or takes too long, what it said last is used."""
    host = Host("triton", Zone(["10.0.0.1"], OSError("no DNS"), [], UnicodeError("odd"), TimeoutError()), 0.0)
    for _ in range(5):
        assert ["10.0.0.1"] == await host.addresses()


async def test_a_name_that_never_had_an_address() -> None:
    """Nothing to fall back on: whoever connects hears it."""
    host = Host("triton", Zone(OSError("no DNS"), []))
    for _ in range(2):
        with pytest.raises(OSError, match=r"no DNS|no address"):
            await host.addresses()


async def test_addresses_take_turns() -> None:
    """Several addresses are begun with one after the other."""
    host = Host("triton", Zone(*[["a", "b", "c"]] * 3), 0.0)
    assert {"a", "b", "c"} == {(await host.addresses())[0] for _ in range(3)}


async def test_one_lookup_at_a_time() -> None:
    """Who comes while a known name is looked up again takes what there is."""
    gate = asyncio.Event()
    answers = iter((["10.0.0.1"], ["10.0.0.2"]))

    async def slow(_: str) -> list[str]:
        answer = next(answers)
        if answer == ["10.0.0.2"]:
            await gate.wait()
        return answer

    host = Host("triton", slow)
    await host.addresses()
    host._fresh_until = 0.0
    looking = asyncio.create_task(host.addresses())
    await asyncio.sleep(0)
    assert ["10.0.0.1"] == await host.addresses()
    gate.set()
    assert ["10.0.0.2"] == await looking


async def test_the_systems_resolver() -> None:
    """Names of this machine have addresses of this machine."""
    assert {"127.0.0.1", "::1"} & set(await look_up("localhost"))
