"""The process's own configuration (`config/gateway.yaml`) as frozen values; every key has a default.

No secret stands in it: API keys are hashes in a file of their own, token keys are public and come from a JWKS file or URL.
Paths are relative to the directory the gateway is started in.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

import msgspec

from backends.inference import LARGEST_ANSWER
from gateway.configuration.decode import read_text
from gateway.configuration.problems import NOT_YET, UnreadableError, nearest, shown
from gateway.configuration.quantities import read_share, read_size
from gateway.configuration.readers import Address, Count, Duration, Limit, Timeout, one_of, read_listener
from gateway.store.address import AddressError, parse

ALGORITHMS = ("RS256", "ES256", "EdDSA")
LATER_ALGORITHMS = ("RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512")


MAX_WORKERS = 64
MEMORY = "memory"
MAX_ANSWER = 4 << 20


def read_workers(value: object) -> int:
    """How many processes share the ports. Raises UnreadableError."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_WORKERS:
        return value
    raise UnreadableError(f"{shown(value)} is not a number of workers: 1 to {MAX_WORKERS}, one for each core at most")


def read_store(value: object) -> str:
    """`memory`, or the URL of a Redis server without a password. Raises UnreadableError."""
    if value == MEMORY:
        return MEMORY
    if not isinstance(value, str) or "://" not in value:
        raise UnreadableError(f"{shown(value)} is neither memory nor the URL of a Redis server", nearest(str(value), (MEMORY,)))
    try:
        parse(value)
    except AddressError as error:  # which does not repeat the URL: a password may stand in it
        raise UnreadableError(str(error)) from None
    return value


def read_otlp(value: object) -> str:
    """Nothing: traces are not exported yet. Raises UnreadableError."""
    raise UnreadableError(f"'otlp' other than null is {NOT_YET}")


def read_path(value: object) -> str:
    """A file's path. Raises UnreadableError."""
    if isinstance(value, (list, dict)):
        raise UnreadableError("must be the path of a file; keys themselves never stand in this document")
    path = read_text(value)
    if not path.isprintable() or "://" in path:
        raise UnreadableError("must be the path of a file")
    return path


def read_sample_size(value: object) -> int:
    """A size of at least 64KiB, which holds the largest sample. Raises UnreadableError."""
    size = read_size(value)
    if size < 64 << 10:
        raise UnreadableError(f"{shown(value)} is too small: one sample may have 64KiB", "64MiB")
    return size


def read_answer_size(value: object) -> int:
    """A size that Redis can give within a request's time; 0B for none. Raises UnreadableError."""
    size = read_size(value)
    if size > MAX_ANSWER:
        raise UnreadableError(
            f"{shown(value)} is more than Redis can give in time: {MAX_ANSWER >> 20}MiB at most, 0B for none", "1MiB"
        )
    return size


def read_folder(value: object) -> str:
    """A folder's path. Raises UnreadableError."""
    path = read_text(value)
    if not path.isprintable() or "://" in path:
        raise UnreadableError("must be the path of a folder, or null")
    return path


def read_jwks(value: object) -> str:
    """The URL (https; http from this machine) or the path of a JSON Web Key Set. Raises UnreadableError."""
    text = read_text(value)
    if "://" not in text:
        return read_path(text)
    try:
        url = urlsplit(text)
        credentials, host, port = "@" in url.netloc, url.hostname, url.port
    except ValueError:
        raise UnreadableError("is not a URL that can be read") from None
    if credentials:  # not repeated: the message may be logged
        raise UnreadableError("a URL with a user name or password is refused: secrets never stand in this file")
    if url.scheme not in ("https", "http") or not host or port == 0 or not text.isprintable() or " " in text or url.fragment:
        raise UnreadableError(f"{shown(text)} is neither an https URL nor a file's path")
    if url.scheme == "http" and not _is_loopback(host):  # whoever can change the keys on their way can sign any token
        raise UnreadableError("keys come by https, or by http from this machine only", f"https{text.removeprefix('http')}")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Redis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `store: redis://…` needs beside the URL. Without a `password_file` the password is that of the environment, if any."""

    password_file: Annotated[str, read_path] | None = None
    ca_file: Annotated[str, read_path] | None = None
    answers: Annotated[int, read_answer_size] = 1 << 20  # bytes of the largest kept there


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where clients (HTTP, gRPC) and operators (admin) come in."""

    http: Annotated[Address, read_listener] = Address("0.0.0.0", 8080)  # noqa: S104 - the service's public port, as documented
    grpc: Annotated[Address, read_listener] = Address("0.0.0.0", 8081)  # noqa: S104
    admin: Annotated[Address, read_listener] = Address("127.0.0.1", 8082)
    shared: bool = False  # http and grpc, with other gateways of the same user: one can take another's place without a gap


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one client, or one answer of a backend, may take of the process, as docs/limits.md explains one by one.

    The names are those of gateway.edge.limits.Limits, which is made of them.
    """

    body: Limit = 64 << 20
    inflated: Limit = 64 << 20
    chunks: Count = 16 << 10
    request_line: Limit = 8 << 10
    headers: Limit = 32 << 10
    header_count: Count = 100
    connections: Count = 10_000
    connections_per_address: Count | None = 8_000
    pipelined: Limit = 64 << 10
    unread: Limit = 256 << 10
    unsent: Limit = 48 << 20
    answer: Limit = LARGEST_ANSWER
    first_byte_timeout: Timeout = 30.0
    headers_timeout: Timeout = 5.0
    body_grace: Timeout = 5.0
    body_rate: Limit = 1 << 10
    write_timeout: Timeout = 10.0
    idle_timeout: Timeout = 75.0
    linger_timeout: Timeout = 2.0


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose tokens are believed, made for whom, verified by which public keys."""

    issuer: str
    audience: str
    jwks: Annotated[str, read_jwks]
    algorithms: tuple[Annotated[str, one_of(ALGORITHMS, LATER_ALGORITHMS)], ...] = ALGORITHMS


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which claim of a token says what."""

    tenant: str = "tenant"
    tier: str = "tier"
    scopes: str = "scope"


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is let in. `api_keys` is a file of hashes; None: no API keys are accepted."""

    jwt: tuple[Issuer, ...] = ()
    claims: Claims = Claims()
    api_keys: Annotated[str, read_path] | None = "config/api-keys.yaml"
    anonymous: bool = False


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where requests of sampled routes are recorded: `keep` files of `size` at most, for each process."""

    file: Annotated[str, read_path]
    size: Annotated[int, read_sample_size] = 64 << 20
    keep: Count = 4


class Telemetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is told about requests, beside the metrics."""

    access_log: Annotated[str, one_of(("json", "off"))] = "json"
    access_log_share: Annotated[float, read_share] = 1.0  # of the requests that went well; the others are all told
    samples: Samples | None = None  # of routes that say `sample`
    pairs: Samples | None = None  # of shadows that say `record`
    otlp: Annotated[str, read_otlp] | None = None


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the process stops, in seconds: it serves on for `notice`, not ready; then requests in flight get `grace` to end.

    A client that asks nothing has `idle` of that for its next request.
    """

    notice: Duration = 5.0
    idle: Duration = 5.0
    grace: Timeout = 30.0


class GatewayDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of it. `state` is the folder for what shall outlive the process; None: nothing does."""

    LATER: ClassVar[frozenset[str]] = frozenset({"xds"})
    listen: Listen = Listen()
    workers: Annotated[int, read_workers] = 1
    store: Annotated[str, read_store] = MEMORY
    redis: Redis = Redis()
    state: Annotated[str, read_folder] | None = None
    cache: Limit = 64 << 20
    limits: Limits = Limits()
    auth: Auth = Auth()
    telemetry: Telemetry = Telemetry()
    drain: Drain = Drain()

    @property
    def state_folder(self) -> Path | None:
        """`state` as a path."""
        return None if self.state is None else Path(self.state)
