"""Whether a client that sends no more is still there to take what it is owed: it has left, or only shut its side."""

from __future__ import annotations

from asyncio import Transport
from typing import Final

from gateway.edge import kernel, reply

ASK_AGAIN: Final = 0.01  # seconds until it is looked at once more; twice as many each time


def may_be_there(transport: Transport, pause: float, modern: bool) -> bool:
    """Asks, when it is looked at for the second time; a connection whose client has left is aborted. `modern`: HTTP/1.1.

    Only what is sent to it tells: the kernel of one that has left answers with a reset. `100 Continue` may be sent at any time,
    and is skipped by who has not asked for it (RFC 9110 section 15.2). HTTP/1.0 has nothing of the kind; its clients did shut
    their side early, and are taken to be there.
    """
    if kernel.lost(transport):
        transport.abort()
        return False
    if pause == 2 * ASK_AGAIN and modern and not transport.get_write_buffer_size():
        transport.write(reply.CONTINUE)
    return True
