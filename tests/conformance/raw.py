"""The gate seen from both sides: a client that sends exactly these bytes, a backend that keeps exactly what came."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.real_parts import GatewayProcess, passed_through, start_gateway

MODELS = ("echo", "a.b", "A-b_9")
BODY = json.dumps({"inputs": [{"name": "IN", "datatype": "INT32", "shape": [1], "data": [7]}]}).encode()
ANSWER = msgspec.json.encode({"model_name": "m", "model_version": "1", "outputs": [json.loads(BODY)["inputs"][0]]})
KEY = b"K" * 80  # stands for the gateway's key in what is sent: as long as that, for the sake of lengths
MORE = 64 << 20  # bytes of memory that nothing a client or a backend sends may take beside what the process has anyway
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"


def request(*fields: str, line: str = "POST /v2/models/echo/infer HTTP/1.1", body: bytes = BODY, host: str = "Host: h") -> bytes:
    """A good question, but for what is said otherwise; with framing fields none is added."""
    framed = any(field.lower().startswith(("content-length", "transfer-encoding")) for field in fields)
    length = [] if framed else [f"Content-Length: {len(body)}"]
    head = [line, *([host] if host else []), f"X-API-Key: {KEY.decode()}", *length, *fields, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


@dataclass(frozen=True)
class Asked:
    """One request as the backend received it; `fields` in lower case, in their order."""

    line: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    def value(self, name: str) -> str:
        """The field's one value."""
        (found,) = (value for each, value in self.fields if each == name)
        return found


@dataclass
class Backend:
    """Is ready, and answers every inference with ANSWER; keeps each, and what it could not read as one request after another."""

    answer: bytes = ANSWER
    instead: Callable[[], Iterator[bytes]] | None = None  # what an inference is answered with, framing and all, before the end
    asked: list[Asked] = field(default_factory=list)
    odd: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = "{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while line := stream.readline():
                lines = [line]
                while (line := stream.readline()) not in (b"\r\n", b""):
                    lines.append(line)
                asked = self._read(lines, stream)
                if asked is None:
                    return
                infer = asked.line.startswith("POST ")
                if infer:
                    self.asked.append(asked)
                if infer and self.instead is not None:
                    for piece in self.instead():
                        connection.sendall(piece)
                    return
                sound = infer or asked.path.endswith("/ready")  # else nothing would be asked at once (backends/begun.py)
                status, answer = (b"200 OK", self.answer if infer else b"") if sound else (b"404 Not Found", b"{}")
                kind = b"Content-Type: application/json\r\n"
                connection.sendall(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, kind, len(answer), answer))

    def _read(self, lines: list[bytes], stream: Any) -> Asked | None:
        try:
            first, *rest = (line.decode("ascii").removesuffix("\r\n") for line in lines)
            fields = tuple((name.lower(), value) for name, value in (each.split(": ", 1) for each in rest))
            length = dict(fields).get("content-length", "0")
            assert len(fields) == len(dict(fields))
            assert length.isdecimal()
            assert "transfer-encoding" not in dict(fields)
            assert first.startswith(("POST /v2/models/", "GET /v2/"))
            assert first.endswith(" HTTP/1.1")
            return Asked(first, fields, stream.read(int(length)))
        except (AssertionError, ValueError):
            self.odd.append(b"".join(lines))
            return None


@dataclass(frozen=True)
class Reply:
    """One answer as it came; `headers` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """Of an error."""
        return self.headers.get("x-penstock-error", "")


class Client:
    """One connection to the gateway, from an address of this machine."""

    def __init__(self, gate: Gate, source: str = "127.0.0.1", receive: int = 0) -> None:
        host, port = gate.process.http.split(":")
        self.socket = socket.socket()
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(5)
        self.socket.bind((source, 0))
        self.socket.connect((host, int(port)))
        self.stream = self.socket.makefile("rb")
        self._key = gate.process.key.encode()
        assert len(KEY) == len(self._key)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, piece: bytes) -> None:
        """Sends; a gateway that has closed already is its answer's business."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(piece.replace(KEY, self._key))

    def reply(self) -> Reply | None:
        """The next answer that is no interim one; None when the connection has ended, in whatever way."""
        try:
            line = self.stream.readline()
            headers = {}
            while (field := self.stream.readline()) not in (b"\r\n", b""):
                name, value = field.decode("latin-1").rstrip("\r\n").split(": ", 1)
                headers[name.lower()] = value
            if not line:
                return None
            status = int(line.split()[1])
            if status == 100:
                return self.reply()
            return Reply(status, headers, self.stream.read(int(headers.get("content-length", "0"))))
        except ConnectionError:
            return None


@dataclass
class Gate:
    """A gateway process and what stands behind it."""

    process: GatewayProcess
    backend: Backend

    def client(self, source: str = "127.0.0.1", receive: int = 0) -> Client:
        """A new connection."""
        return Client(self, source, receive)

    def rss(self) -> int:
        """Bytes of memory that the process holds."""
        status = Path(f"/proc/{self.process.process.pid}/status").read_text()
        return 1024 * int(status.split("VmRSS:")[1].split()[0])

    def held(self) -> int:
        """Connections of clients that the process has open: those the kernel goes on with alone have no inode."""
        port = f":{int(self.process.http.split(':')[1]):04X}"
        return sum(each[1].endswith(port) and each[3] != "0A" and each[9] != "0" for each in sockets())

    @contextlib.contextmanager
    def peak(self) -> Iterator[None]:
        """Checks that memory does not grow by more than MORE on the way; the kernel keeps the mark."""
        process = Path(f"/proc/{self.process.process.pid}")
        (process / "clear_refs").write_text("5")
        before = self.rss()
        yield
        highest = 1024 * int((process / "status").read_text().split("VmHWM:")[1].split()[0])
        assert highest - before <= MORE, f"{(highest - before) >> 20} MiB"


def sockets() -> list[list[str]]:
    """The fields of each line of this machine's TCP sockets: proc(5), /proc/net/tcp."""
    return [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]


@contextlib.contextmanager
def gate(folder: Path, answer: bytes = ANSWER, /, **limits: Any) -> Iterator[Gate]:
    """A gateway with these limits before a recording backend; neither may have seen anything odd at the end."""
    backend = Backend(answer)
    backends = {"raw": {"protocol": "triton-http", "endpoints": [backend.address], "max_in_flight": 2000}}
    models = {name: passed_through(name, "raw") for name in MODELS}
    process = start_gateway(folder, {"version": 1, "backends": backends, "models": models}, settings={"limits": limits})
    try:
        yield Gate(process, backend)
    finally:
        status = process.stop()
        backend.close()
    assert 0 == status
    assert "Traceback" not in process.log()
    assert [] == backend.odd


# A status, with its reason where it is an error of the gateway.
Answered = tuple[int, str]
OK: Answered = (200, "")


@dataclass(frozen=True)
class Case:
    """What is sent on a new connection and answered, how many questions reach the backend, and whether the connection is kept."""

    name: str
    sent: bytes
    answers: tuple[Answered, ...]
    asked: int = 0
    kept: bool = False

    def __str__(self) -> str:
        return self.name


def good(name: str, sent: bytes, *answers: Answered, asked: int = 1) -> Case:
    """A case that is answered, and the connection kept."""
    return Case(name, sent, answers or (OK,), asked, kept=True)


def bad(name: str, sent: bytes, status: int, reason: str) -> Case:
    """A case that is refused, with nothing asked, and the connection closed."""
    return Case(name, sent, ((status, reason),))


def play(gate: Gate, case: Case) -> list[Asked]:
    """Plays the case and returns what the backend was asked in it."""
    before = len(gate.backend.asked)
    with gate.client() as client:
        client.send(case.sent)
        found = [client.reply() for _ in case.answers]
        told = [(each.status, each.reason) if each else None for each in found]
        assert list(case.answers) == told, told
        if case.kept:
            client.send(LIVE)
            assert (live := client.reply()) is not None
            assert 200 == live.status
            assert "connection" not in live.headers
        else:
            assert found[-1] is not None
            assert "close" == found[-1].headers["connection"]
            client.send(LIVE)
            assert client.reply() is None
    asked = gate.backend.asked[before:]
    assert case.asked == len(asked)
    return asked
