"""What is kept while a backend changes versions behind the gateway's back: nothing under a version that did not say it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.features.oip_server import written
from tests.features.test_cache import POLICY

if TYPE_CHECKING:
    import asyncio

    from tests.features.conftest import Start
    from tests.features.oip_server import Received, Script


def answering(version: str, *outputs: str) -> Script:
    """A backend that has just loaded this version, and has only these outputs."""

    async def script(asked: Received, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        told = [{"name": each, "datatype": "INT64", "shape": [len(asked.rows), 1], "data": asked.rows} for each in outputs]
        answer = {"model_name": asked.model, "model_version": version, "outputs": told}
        writer.write(written(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}))
        return True

    return script


async def test_a_version_that_the_gateway_has_not_seen(start: Start) -> None:
    """Between two looks at the backend its new version answers, and nothing of it is found when the old one is back."""
    gate = await start(POLICY)
    gate.backend.versions = ["1"]
    await gate.learned()
    gate.backend.versions, gate.backend.scripts["digits_fast"] = ["2"], answering("2", "label")
    unseen = await gate.infer([1])
    assert ("2", "penstock; fwd=miss") == (unseen.json["model_version"], unseen.headers["cache-status"])
    await gate.learned()
    assert ["penstock; fwd=miss; stored", "penstock; hit"] == [
        (await gate.infer([1])).headers["cache-status"].partition("; ttl")[0] for _ in range(2)
    ]
    gate.backend.versions = ["1"]
    gate.backend.scripts.clear()
    await gate.learned()
    back = await gate.infer([1])
    assert ("1", "penstock; fwd=miss; stored") == (back.json["model_version"], back.headers["cache-status"])


async def test_a_version_that_is_seen_while_it_is_asked(start: Start) -> None:
    """Nobody knows which of them the answer is of: its key was made before."""
    gate = await start(POLICY)
    gate.backend.versions = ["1"]
    await gate.learned()

    async def seen(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        gate.backend.versions = ["1", "2"]
        await gate.learned()
        return bool(await answering("1", "label")(asked, reader, writer))

    gate.backend.scripts["digits_fast"] = seen
    assert "penstock; fwd=miss" == (await gate.infer([1])).headers["cache-status"]


async def test_an_answer_without_an_output_is_not_kept(start: Start) -> None:
    """What was asked for by name is missing, or there is nothing at all."""
    gate = await start(POLICY)
    gate.backend.scripts["digits_fast"] = answering("1", "label")
    wanted = [{"name": "label"}, {"name": "probabilities"}]
    for outputs, stored in ((wanted, ""), (wanted[:1], "; stored"), ([], "; stored")):
        assert f"penstock; fwd=miss{stored}" == (await gate.infer([1], outputs=outputs)).headers["cache-status"]
    gate.backend.scripts["digits_fast"] = answering("1")
    assert "penstock; fwd=miss" == (await gate.infer([2])).headers["cache-status"]
