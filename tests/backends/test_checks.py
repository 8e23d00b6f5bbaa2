"""What a check makes of an endpoint's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from backends.checks import check
from backends.deadline import Deadline
from backends.endpoint import NONE, SICK, SILENT, Endpoint
from backends.errors import ErrorKind, InferenceError

ONE, TWO = ("one", ""), ("two", "3")


class Server:
    """Says of the server and of each model what it is told to; an error is raised."""

    def __init__(self, server: bool | ErrorKind = True, **models: bool | ErrorKind) -> None:
        self.states = {"": server, **models}
        self.asked: list[tuple[str, str]] = []
        self.meanwhile: Callable[[], object] = list

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        self.asked.append((model, version))
        self.meanwhile()
        state = self.states[model]
        if isinstance(state, ErrorKind):
            raise InferenceError(state, "no")
        return state


def endpoint(server: Server) -> Endpoint:
    return Endpoint("a", server)  # type: ignore[arg-type]


async def test_a_well_server() -> None:
    """It and each of its models is asked once, and nothing is known against it."""
    server = Server(one=True, two=True)
    found = endpoint(server)
    await check(found, {ONE, TWO}, 1.0)
    assert [("", ""), ONE, TWO] == sorted(server.asked)
    assert found.sound


async def test_models_are_told_apart() -> None:
    """A Triton with one model that is not ready is not ready itself: its other models are."""
    found = endpoint(Server(False, one=True, two=False))
    await check(found, {ONE, TWO}, 1.0)
    assert (NONE, SICK, True) == (found.doubt(ONE, 0.0), found.doubt(TWO, 0.0), found.serves)


@pytest.mark.parametrize("kind", [ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE, ErrorKind.BROKEN])
async def test_no_answer(kind: ErrorKind) -> None:
    """It is not there, and no model needs to be asked; the next check may find it."""
    server = Server(kind, one=True)
    found = endpoint(server)
    await check(found, {ONE}, 1.0)
    assert (SILENT, [("", "")], False) == (found.doubt(ONE, 0.0), server.asked, found.serves)
    server.states[""] = True
    await check(found, {ONE}, 1.0)
    assert found.serves


async def test_a_busy_server_is_there() -> None:
    """Its answer to the check comes too late, but a question was answered meanwhile."""
    server = Server(ErrorKind.DEADLINE, one=True)
    found = endpoint(server)

    def answered() -> None:
        found.answers += 1

    server.meanwhile = answered
    await check(found, {ONE}, 1.0)
    assert found.serves


async def test_who_does_not_tell_is_taken_for_ready() -> None:
    """Not every server has these questions: it is there, and its models count as ready."""
    found = endpoint(Server(ErrorKind.UNSUPPORTED, one=ErrorKind.UNSUPPORTED))
    await check(found, {ONE}, 1.0)
    assert found.sound


async def test_a_check_has_its_own_time() -> None:
    """The deadline of its questions is the one it was given."""

    class Timed(Server):
        at = 0.0

        async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
            self.at = deadline.at
            return True

    server = Timed()
    before = asyncio.get_running_loop().time()
    await check(endpoint(server), set(), 0.25)
    assert 0.25 <= server.at - before < 1.0
