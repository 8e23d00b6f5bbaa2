"""What models take, kept up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from backends.inference import TensorSpec
from backends.schedule import Schedule
from gateway.signatures import Signatures
from routing.plan import Target

if TYPE_CHECKING:
    from tests.gateway.conftest import Fake


async def until(condition: Callable[[], bool]) -> None:
    """Lets the others go on until the condition holds, for five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nobody tells when it does
            await asyncio.sleep(0)


def refuses(signatures: Signatures, target: Target, spec: TensorSpec) -> None:
    found = signatures.get(target)
    assert found is not None
    with pytest.raises(InferenceError, match="it takes"):
        found.check([spec], (), "digits")


async def test_every_target_is_looked_at(fake: Fake) -> None:
    """One signature for each target, of its own model and version."""
    signatures = Signatures()
    await signatures.look(fake.snapshot())
    assert signatures.get(fake.dear) is not None
    found = signatures.get(fake.fast)
    assert found is not None
    assert (4, "FP32", (-1, 2)) == (found.max_batch, found.inputs["x"].datatype, found.inputs["x"].shape)
    assert ("metadata", "b_dear", "2") in fake.backend.asked


async def test_what_is_gone_is_forgotten(fake: Fake) -> None:
    """A target out of the policy, or one whose backend cannot be asked, has no signature any more."""
    signatures = Signatures()
    await signatures.look(fake.snapshot())
    await signatures.look(fake.snapshot(digits=(fake.fast,)))
    assert signatures.get(fake.fast) is not None
    assert signatures.get(fake.dear) is None
    fake.backend.failure = InferenceError(ErrorKind.UNAVAILABLE, "gone")
    await signatures.look(fake.snapshot(digits=(fake.fast,)))
    assert signatures.get(fake.fast) is None


async def test_what_was_served_is_remembered(fake: Fake) -> None:
    """While a backend cannot be asked, what it served last still holds; a target out of the policy is forgotten."""
    signatures = Signatures()
    assert signatures.versions(fake.fast) is None
    await signatures.look(fake.snapshot())
    found = signatures.get(fake.fast)
    assert found is not None
    before = signatures.versions(fake.fast)
    assert found.versions == before
    fake.backend.failure = InferenceError(ErrorKind.UNAVAILABLE, "gone")
    await signatures.look(fake.snapshot())
    assert (None, before) == (signatures.get(fake.fast), signatures.versions(fake.fast))
    await signatures.look(fake.snapshot(digits=(fake.dear,)))
    assert signatures.versions(fake.fast) is None


async def test_what_a_queue_obeys_is_told_its_cluster(fake: Fake) -> None:
    """By the same configuration; what it obeys no more is forgotten."""
    signatures, snapshot = Signatures(), fake.snapshot()
    fake.backend.batching = {"priority_levels": 2}
    await signatures.look(snapshot)
    found = snapshot.clusters["triton"].schedules
    assert {"b_fast": Schedule(False, 2), "b_dear": Schedule(False, 2)} == found
    fake.backend.batching = {}
    await signatures.look(snapshot)
    assert {} == found


async def test_a_reload_forgets_nothing(fake: Fake) -> None:
    """A target of another cost, timeout or name is the same to its backend, which is asked once for all of them."""
    signatures = Signatures()
    other = replace(fake.fast, variant="other", cost=7.0, timeout=1.0)
    await signatures.look(fake.snapshot(digits=(fake.fast, other)))
    assert [("metadata", "b_fast", ""), ("config", "b_fast", "")] == fake.backend.asked
    assert signatures.get(other) is signatures.get(fake.fast) is not None
    assert signatures.get(replace(other, version="1")) is None


async def test_a_model_that_stays_as_it_is(fake: Fake) -> None:
    """What was found before is not replaced by its like: whoever has decided by it need not decide again."""
    signatures, snapshot = Signatures(), fake.snapshot()
    await signatures.look(snapshot)
    before = signatures.get(fake.fast)
    await signatures.look(snapshot)
    assert before is signatures.get(fake.fast) is not None


async def test_a_model_that_changes(fake: Fake) -> None:
    """A backend that comes back with another model is judged by the new description from the next look on."""
    signatures = Signatures()
    snapshot = fake.snapshot()
    wide, narrow = TensorSpec("x", "FP32", (1, 3)), TensorSpec("x", "FP32", (1, 2))
    await signatures.look(snapshot)
    refuses(signatures, fake.fast, wide)
    fake.backend.width = 3
    await signatures.look(snapshot)
    found = signatures.get(fake.fast)
    assert found is not None
    found.check([wide], (), "digits")
    refuses(signatures, fake.fast, narrow)


async def test_a_backend_that_is_away_at_first(fake: Fake) -> None:
    """While it is away there is nothing to judge by; the watch learns it as soon as it is there."""
    signatures, snapshot = Signatures(interval=0.001), fake.snapshot()
    fake.backend.failure = InferenceError(ErrorKind.UNAVAILABLE, "gone")
    watching = asyncio.create_task(signatures.watch(lambda: snapshot))
    await until(lambda: len(fake.backend.asked) > 4)
    assert signatures.get(fake.fast) is None
    fake.backend.failure = None
    await until(lambda: signatures.get(fake.fast) is not None)
    fake.backend.failure = InferenceError(ErrorKind.UNAVAILABLE, "gone again")
    await until(lambda: signatures.get(fake.fast) is None)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_a_backend_that_hangs_holds_up_no_other(fake: Fake) -> None:
    """The others' models are known while one does not answer."""
    fake.backend.hangs["b_dear"] = asyncio.Event()
    signatures = Signatures()
    looking = asyncio.create_task(signatures.look(fake.snapshot()))
    await until(lambda: signatures.get(fake.fast) is not None)
    assert not looking.done()
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert fake.backend.hangs["b_dear"].is_set()


async def test_watching_goes_on_until_cancelled(fake: Fake) -> None:
    """The first look is at once, at the snapshot in force."""
    signatures = Signatures()
    watching = asyncio.create_task(signatures.watch(fake.snapshot))
    await until(lambda: None not in (signatures.get(fake.fast), signatures.get(fake.dear)))
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
