"""The operators' port: metrics, health and readiness, apart from the clients' port and bound to loopback by default."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True)
class AdminState:
    """Whom the port asks: `exposition` for the metrics as Prometheus text, `unready` for why no traffic is wanted, if so."""

    exposition: Callable[[], Awaitable[bytes]]
    unready: Callable[[], Sequence[str]]


class AdminPort(Protocol):
    """Where operators ask; `port` is 0 where it is no TCP port."""

    port: int

    async def close(self) -> None:
        """No questions any more."""
        ...


class AdminListener:
    """An open port. `port` is the one that was bound, also where any was asked for."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.port = port

    async def close(self) -> None:
        """Stops listening; answers under way get a second."""
        await self._runner.cleanup()


async def listen(state: AdminState, host: str, port: int) -> AdminListener:
    """Serves the port from now on. Raises OSError if it cannot be had."""
    from aiohttp import web  # tens of milliseconds and megabytes: only a process that serves pays for it

    app = web.Application()
    _routes(app, state)
    app.on_response_prepare.append(_plain)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return AdminListener(runner, int(runner.addresses[0][1]))


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
        return web.json_response({"error": "not here: GET /metrics, /healthz or /readyz"}, status=404)

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_route("*", "/{path:.*}", unknown)


async def _plain(_: web.Request, response: web.StreamResponse) -> None:
    """Versions of what runs here are nobody's business; nor may an answer be kept by anyone."""
    response.headers["Server"] = "penstock"
    response.headers["Cache-Control"] = "no-store"
