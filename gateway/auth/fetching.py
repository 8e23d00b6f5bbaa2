"""Gets an issuer's key set, from its file or over the network: bounded in bytes and seconds, and beside the event loop."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from gateway.aside import alone
from gateway.auth.settings import JwtIssuer, KeySourceError
from gateway.configuration.files import read_file

FETCH_SECONDS = 4.0  # the whole fetch, name lookup to last byte; below the 5 s in which a new key should be live
MAX_BYTES = 256 * 1024

Fetch = Callable[[], Awaitable[bytes]]
"""Gets the key set's bytes; raises KeySourceError."""


class Fetched(msgspec.Struct, frozen=True):
    """A key set that was taken into use, and where it came from. `at`: monotonic seconds, one clock for a machine's processes."""

    issuer: str
    jwks: str
    document: bytes
    at: float


def nobody(_: Fetched) -> None:
    """Is told, and does nothing."""


@dataclass(frozen=True, slots=True)
class Handed:
    """What passes between processes that serve one after the other: a new one shall have keys though their issuer is away.

    `known`: sets of others, by issuer. `tell` is told of each set of one's own.
    """

    known: Mapping[str, Fetched] = field(default_factory=dict)
    tell: Callable[[Fetched], None] = nobody


def fetcher(issuer: JwtIssuer) -> Fetch:
    """How this issuer's key set is had: over the network or from its file."""
    if issuer.is_url:
        return lambda: fetch_url(issuer.jwks)

    return lambda: read_key_file(Path(issuer.jwks))


async def read_key_file(path: Path) -> bytes:
    """The file's bytes, at most 256 KiB, read in a thread of its own. Raises KeySourceError."""
    try:
        return await alone(partial(read_file, path, MAX_BYTES))
    except OSError as error:
        raise KeySourceError(f"cannot be read: {error.strerror}") from error


async def fetch_url(url: str, seconds: float = FETCH_SECONDS) -> bytes:
    """The body of a 200 answer, at most 256 KiB and `seconds` in all; redirects are not followed. Raises KeySourceError."""
    import aiohttp  # here, because it takes 13 MB that a gateway with key files never needs

    resolver: Any = _Resolver()  # not derived from aiohttp's class, which is not there yet when this module is read
    try:
        async with (
            aiohttp.TCPConnector(resolver=resolver, limit=1) as connector,
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=seconds)) as session,
            session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status != 200:
                raise KeySourceError(f"answered with status {response.status}")
            document = bytearray()
            async for chunk in response.content.iter_any():
                document += chunk
                if len(document) > MAX_BYTES:
                    raise KeySourceError(f"larger than {MAX_BYTES} bytes")
            return bytes(document)
    except KeySourceError:
        raise
    except TimeoutError as error:
        raise KeySourceError(f"no answer within {seconds:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise KeySourceError(f"cannot be fetched: {type(error).__name__}") from error


class _Resolver:
    """Looks a name up in a thread of its own: a name server that hangs would else fill the threads that large requests need."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        """aiohttp's form of what the system finds. Raises OSError."""
        found = await alone(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
        return [
            {
                "hostname": host,
                "host": where[0],
                "port": where[1],
                "family": kind,
                "proto": protocol,
                "flags": socket.AI_NUMERICHOST,
            }
            for kind, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        """Nothing is kept."""
