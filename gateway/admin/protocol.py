"""Speaks HTTP on the operators' port, so that what reaches no route is answered as everything else is, and never quoted."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

_NOT_UNDERSTOOD = "not understood: the first line, a header or a length is wrong or too long"


class JsonProtocol(web.RequestHandler):
    """aiohttp's, whose own errors are plain text and quote the header they complain of: a credential may stand in it."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no request, or whose answer failed; it closes the connection. Raises if one is under way."""
        super().handle_error(request, status, exc, message)  # for what it logs
        answer = _error(status)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends an answer: for what the router answers itself (to CONNECT, or an Expect nobody knows), ours."""
        answer = _error(resp.status) if isinstance(resp, web.HTTPException) else resp
        return await super().finish_response(request, answer, start_time)


def _error(status: int) -> web.Response:
    """What there is to say of a status alone."""
    why = _NOT_UNDERSTOOD if status == 400 else HTTPStatus(status).phrase
    return web.json_response({"error": why}, status=status, headers={"Server": "penstock", "Cache-Control": "no-store"})
