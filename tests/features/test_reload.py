"""Reload: a good policy is in force at once and wholly, a bad one not at all, and nobody's request notices."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from gateway.configuration.load import version
from tests.features.conftest import PLAIN, until
from tests.features.oip_server import Received, Server, Waiting, failing

if TYPE_CHECKING:
    from tests.features.conftest import Running

OTHER = PLAIN.replace("digits_fast", "digits_accurate").replace("fast", "accurate")


async def test_a_good_policy(digits: Running) -> None:
    """The next request is answered by the new policy; its version is the content's, as `penstock policy check` tells it."""
    before = await digits.infer([0])
    await digits.reload(OTHER)
    after = await digits.infer([0])
    assert [[100], [300]] == [each.output("label") for each in (before, after)]
    assert version(digits.policy.read_bytes()) == after.headers["x-penstock-policy"] != before.headers["x-penstock-policy"]
    metrics = await digits.metrics()
    assert [after.headers["x-penstock-policy"]] == [labels[0] for name, labels in metrics if name == "penstock_policy_info"]
    assert 2 == metrics["penstock_policy_reloads_total", ("ok",)]


@pytest.mark.parametrize("bad", ["version: 2", OTHER + "  x: {}", "", "\x00", OTHER.replace("use: accurate", "use: acurate")])
async def test_a_bad_policy(digits: Running, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    """It changes nothing: the log says where it is wrong, a metric counts it, and the same snapshot goes on."""
    snapshot = digits.gateway.plane.snapshot
    with caplog.at_level(logging.ERROR):
        await digits.reload(bad)
    assert snapshot is digits.gateway.plane.snapshot
    assert f"version {snapshot.version} stays in force" in caplog.text
    assert str(digits.policy) in caplog.text
    assert 200 == (await digits.infer([0])).status
    assert 1 == (await digits.metrics())["penstock_policy_reloads_total", ("refused",)]


async def test_a_policy_that_is_gone(digits: Running) -> None:
    """A file that cannot be read is a refused policy, too."""
    digits.policy.unlink()
    await digits.gateway.reload()
    assert 200 == (await digits.infer([0])).status


async def test_a_saved_file_is_taken_by_itself(digits: Running) -> None:
    """Nobody needs to send a signal."""
    digits.policy.write_text(OTHER.replace("PORT", str(digits.backend.port)))
    wanted = version(digits.policy.read_bytes())
    await until(lambda: wanted == digits.gateway.plane.snapshot.version)
    assert [300] == (await digits.infer([0])).output("label")


async def test_a_file_system_that_hangs(digits: Running) -> None:
    """Holds up no request; when it answers, the policy is taken."""
    answering = threading.Event()
    hung = asyncio.ensure_future(digits.gateway._beside(lambda: answering.wait(20)))
    reloading = asyncio.ensure_future(digits.reload(OTHER))
    assert {200} == {(await digits.infer([row])).status for row in range(20)}
    assert not reloading.done()
    answering.set()
    await asyncio.gather(hung, reloading)
    assert [300] == (await digits.infer([0])).output("label")


async def test_an_unchanged_cluster_lives_on(digits: Running) -> None:
    """What a reload does not change keeps its connections and its count; what it changes is made anew."""
    await digits.infer([0])
    cluster = digits.gateway.plane.snapshot.clusters["triton"]
    await digits.reload(OTHER)
    assert cluster is digits.gateway.plane.snapshot.clusters["triton"]
    await digits.reload(OTHER.replace('PORT"]', 'PORT"], max_in_flight: 7'))
    assert cluster is not digits.gateway.plane.snapshot.clusters["triton"]
    assert [300] == (await digits.infer([0])).output("label")


async def test_a_request_ends_under_the_policy_it_began_with(digits: Running) -> None:
    """While its backend is taken out of the policy it is answered still, and told by the old version; then all is closed."""
    digits.backend.scripts["digits_fast"] = waiting = Waiting()
    before = digits.gateway.plane.snapshot.version
    asking = asyncio.create_task(digits.infer([5]))
    await waiting.entered.wait()
    other = Server()
    await other.start()
    await digits.reload(OTHER.replace("PORT", str(other.port)))
    assert [307] == (await digits.infer([7])).output("label")
    assert [[7]] == [each.rows for each in other.asked]
    waiting.go.set()
    reply = await asking
    assert ([105], before, "fast") == (
        reply.output("label"),
        reply.headers["x-penstock-policy"],
        reply.headers["x-penstock-variant"],
    )
    await until(lambda: not digits.backend.connections)  # the old cluster lets go of everything it has
    await other.close()


async def test_a_request_fails_under_the_policy_it_began_with(digits: Running) -> None:
    """Route and version in its error are of one policy."""
    entered, go = asyncio.Event(), asyncio.Event()

    async def fails(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        entered.set()
        await go.wait()
        await failing(500)(asked, reader, writer)

    digits.backend.scripts["digits_fast"] = fails
    before = digits.gateway.plane.snapshot.version
    asking = asyncio.create_task(digits.infer([5]))
    await entered.wait()
    await digits.reload(OTHER)
    go.set()
    reply = await asking
    assert before != digits.gateway.plane.snapshot.version
    assert (502, before, "default") == (reply.status, reply.headers["x-penstock-policy"], reply.headers["x-penstock-route"])


async def test_models_come_and_go(digits: Running) -> None:
    """A model taken out is unknown from now on, one put in is there."""
    await digits.reload(PLAIN.replace("  digits:", "  numbers:"))
    assert (404, "not-found") == (await digits.infer([0])).error
    assert ["numbers"] == [each["name"] for each in (await digits.ask("POST", "/v2/repository/index")).json]


async def test_many_reloads_under_load(digits: Running) -> None:
    """Requests in the middle of reloads are all answered, each wholly by one policy or the other."""

    async def asks() -> None:
        for row in range(30):
            reply = await digits.infer([row])
            assert [{"fast": 100, "accurate": 300}[reply.headers["x-penstock-variant"]] + row] == reply.output("label")

    async def reloads() -> None:
        for turn in range(20):
            await digits.reload((OTHER if turn % 2 else PLAIN).replace('PORT"]', f'PORT"], max_in_flight: {turn // 4 + 50}'))
            await asyncio.sleep(0)

    await asyncio.gather(asks(), asks(), reloads(), asks())
