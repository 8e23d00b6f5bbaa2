"""The stages of a request, each measured on its own."""

import asyncio
import json
from pathlib import Path

import pytest

from loadtest import stages
from loadtest.stages import Stage


async def test_work_that_waits_is_no_stage() -> None:
    """Its time would be the loop's."""
    with pytest.raises(AssertionError, match="waited"):
        stages.finished(asyncio.sleep(0))


async def test_work_that_fails_is_not_measured() -> None:
    """An error is quicker than an answer."""

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        stages.finished(fail())


def test_a_stage_that_cannot_be_repeated_at_will_is_done_as_often_as_it_says() -> None:
    """No more tokens are used than there are."""
    done: list[None] = []
    assert stages.best(Stage("", "", lambda: done.append(None), times=3), 4) > 0
    assert 12 == len(done)


@pytest.mark.slow
def test_every_stage_can_be_measured(tmp_path: Path) -> None:
    """The parts fit the gateway as it is now, and the front costs more than what it is made of."""
    output = tmp_path / "stages.json"
    assert 0 == stages.main(["--repetitions", "2", "--output", str(output)])
    took = {stage["stage"]: stage["us"] for stage in json.loads(output.read_text())["stages"]}
    assert {"gate", "auth: API key", "auth: RS256 token", "decode", "match and plan", "onion", "encode", "front"} <= took.keys()
    assert took["front"] > took["onion"] + took["decode"]
    assert took["front"] > took["asked at once"] > took["pool: answer"]
    assert took["auth: RS256 token, first"] > took["auth: RS256 token"]
