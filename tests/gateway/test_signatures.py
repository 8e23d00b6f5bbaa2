"""What models take, kept up to date."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from backends.errors import ErrorKind, InferenceError
from gateway.signatures import Signatures

if TYPE_CHECKING:
    from tests.gateway.conftest import Fake


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


async def test_watching_goes_on_until_cancelled(fake: Fake) -> None:
    """The first look is at once, at the snapshot in force."""
    signatures = Signatures()
    watching = asyncio.create_task(signatures.watch(fake.snapshot))
    while signatures.get(fake.fast) is None or signatures.get(fake.dear) is None:  # noqa: ASYNC110 - nobody tells when they are there
        await asyncio.sleep(0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
