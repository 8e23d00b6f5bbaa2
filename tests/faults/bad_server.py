"""A backend process that answers a few questions and then fails all others: `python -m tests.faults.bad_server GOOD`.

Says its port on standard output. Of a negative GOOD it never fails.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from tests.features.oip_server import Received, Server, answered, written


async def main(good: int) -> None:
    """Serves until killed."""
    server, asked_so_far = Server(), count()

    async def script(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        fails = 0 <= good <= next(asked_so_far)
        writer.write(written(500, b'{"error": "broken"}', {}) if fails else written(200, *answered(asked, {})))
        return True

    server.scripts["digits_fast"] = script
    await server.start()
    print(server.port, flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
