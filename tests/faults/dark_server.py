"""A backend process that needs its time for an answer, or never gives one: `python -m tests.faults.dark_server SECONDS`.

Says its port on standard output. Of no SECONDS it hangs.
"""

from __future__ import annotations

import asyncio
import sys

from tests.features.oip_server import Received, Server, answered, written


async def main(seconds: float | None) -> None:
    """Serves until killed."""
    server = Server()

    async def script(asked: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if seconds is None:
            await reader.read(1)  # until whoever asks has left
            return False
        await asyncio.sleep(seconds)
        writer.write(written(200, *answered(asked, {})))
        return True

    server.scripts["digits_fast"] = script
    await server.start()
    print(server.port, flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else None))
