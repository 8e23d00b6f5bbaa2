"""How much of anything one client may take, and one answer of a backend: bytes, counts and times."""

from __future__ import annotations

from dataclasses import dataclass, replace

from backends.inference import LARGEST_ANSWER


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. The times are kept by one sweep per listener: each may run over by `sweep`.

    Named as the keys of `limits` in gateway.yaml are; docs/limits.md says what each is answered with.
    """

    request_line: int = 8 * 1024
    headers: int = 32 * 1024  # the header section, names and values and separators
    header_count: int = 100
    body: int = 64 * 1024 * 1024
    inflated: int = 64 * 1024 * 1024
    chunks: int = 16 * 1024  # of a chunked body: each costs work, however small it is
    connections: int = 10_000
    connections_per_address: int | None = 8_000  # generous: whole companies sit behind one address; None: as many as in all
    pipelined: int = 64 * 1024  # bytes of later requests kept while one is being answered; beyond it reading pauses
    unread: int = 256 * 1024  # body bytes thrown away after an early refusal before the connection is given up
    unsent: int = 48 * 1024 * 1024  # bytes of answers, of all clients together, that wait to be taken
    answer: int = LARGEST_ANSWER  # of a backend, whose connections keep to it
    first_byte_timeout: float = 30.0  # of a new connection
    headers_timeout: float = 5.0  # from a request's first byte to the end of its headers
    body_grace: float = 5.0  # after which, and in every further window as long, the rate must be kept
    body_rate: int = 1024  # bytes per second, of a body that is sent to us and of an answer that is taken from us
    write_timeout: float = 10.0  # the window for the rate at which an answer is taken
    idle_timeout: float = 75.0  # from an answer to the first byte of the next request
    linger_timeout: float = 2.0  # for reading what a refused client still sends
    sweep: float = 0.5

    def of_each(self, processes: int) -> Limits:
        """What each of so many processes keeps to: connections and memory are spread over them, rounded up."""
        own = self.connections_per_address
        return replace(
            self,
            connections=-(-self.connections // processes),
            unsent=-(-self.unsent // processes),
            connections_per_address=None if own is None else -(-own // processes),
        )
