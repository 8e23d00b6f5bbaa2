"""The operators' port: metrics, health, readiness and the admin API, apart from the clients' port, on loopback by default."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gateway.admin.api import MAX_BODY
from gateway.admin.asked import ApiError, ApiRequest, ApiResponse

if TYPE_CHECKING:
    from aiohttp import web

BODY_SECONDS = 10.0  # that a request's body may take
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdminState:
    """Whom the port asks: `exposition` for the metrics as Prometheus text, `unready` for why no traffic is wanted, if so.

    `api` answers what is asked below /api.
    """

    exposition: Callable[[], Awaitable[bytes]]
    unready: Callable[[], Sequence[str]]
    api: Callable[[ApiRequest], Awaitable[ApiResponse]]


class AdminPort(Protocol):
    """Where operators ask; `port` is 0 where it is no TCP port."""

    port: int

    async def close(self) -> None:
        """No questions any more."""
        ...


class NoPort:
    """Stands where there is none: operators ask somebody else."""

    port = 0

    async def close(self) -> None:
        """Nothing to do."""


class AdminListener:
    """An open port. `port` is the one that was bound, also where any was asked for."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server) -> None:
        self._runner = runner
        self._server = server
        self.port = int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops listening; answers under way get a second."""
        self._server.close()
        await self._runner.cleanup()


def _fit_to_log(record: logging.LogRecord) -> bool:
    """Whether it is no complaint of the parser, which quotes headers: a credential may stand in them."""
    from aiohttp.http_exceptions import HttpProcessingError

    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def listen(state: AdminState, host: str, port: int) -> AdminListener:
    """Serves the port from now on. Raises OSError if it cannot be had."""
    from aiohttp import web  # tens of milliseconds and megabytes: only a process that serves pays for it

    from gateway.admin.protocol import JsonProtocol

    app = web.Application(client_max_size=MAX_BODY)
    _routes(app, state)
    app.on_response_prepare.append(_plain)
    _log.addFilter(_fit_to_log)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    connections, loop = runner.server, asyncio.get_running_loop()
    assert connections is not None, "made by setup"

    def protocol() -> JsonProtocol:
        return JsonProtocol(connections, loop=loop, access_log=None, logger=_log)  # type: ignore[arg-type]  # None: no log

    try:
        server = await loop.create_server(protocol, host, port)
    except OSError:
        await runner.cleanup()
        raise
    return AdminListener(runner, server)


def _routes(app: web.Application, state: AdminState) -> None:
    from aiohttp import web

    from gateway.telemetry.metrics import CONTENT_TYPE

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await state.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        reasons = list(state.unready())
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def unknown(_: web.Request) -> web.Response:
        return web.json_response({"error": "not here: GET /metrics, /healthz or /readyz, or /api/policy"}, status=404)

    async def api(request: web.Request) -> web.Response:
        headers = {name.lower(): request.headers.getall(name) for name in request.headers}
        answer = await state.api(ApiRequest(request.method, request.path, headers, lambda: _body(request)))
        allow = {"Allow": answer.allow} if answer.allow else None
        return web.json_response(answer.content, status=answer.status, headers=allow)

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_route("*", "/api{path:(/.*)?}", api)
    app.router.add_route("*", "/{path:.*}", unknown)


async def _body(request: web.Request) -> bytes:
    from aiohttp import web

    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise ApiError(413, f"the body may have {MAX_BODY >> 10} KiB") from error
    except TimeoutError as error:
        raise ApiError(408, f"the body was not there within {BODY_SECONDS:g} s") from error


async def _plain(_: web.Request, response: web.StreamResponse) -> None:
    """Versions of what runs here are nobody's business; nor may an answer be kept by anyone."""
    response.headers["Server"] = "penstock"
    response.headers["Cache-Control"] = "no-store"
