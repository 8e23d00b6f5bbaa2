"""Asks a running gateway by its admin API on behalf of a command, and says in words what is in the way when it cannot."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from gateway.cli.progress import SILENCE
from gateway.configuration.files import read_file

KEY = "PENSTOCK_API_KEY"
LARGEST = 8 << 20  # bytes of an answer
MAKE_KEY = "penstock keys new --subject NAME --scope models:admin --file config/api-keys.yaml"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until the gateway is given up, which itself answers within 30, and until people are told that they wait."""

    whole: float = 35.0
    silent: float = SILENCE


class RemoteError(Exception):
    """No answer to work with: used wrongly, or nobody there. The message says what to do."""


class NoError(Exception):
    """The gateway's answer is no; `content` is what it said, `error` in one line."""

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        super().__init__(str(content["error"]))
        self.status = status
        self.content = content


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command needs that asks a gateway."""
    parser.add_argument("--admin", metavar="URL", default="http://127.0.0.1:8082", help="the admin port (default: %(default)s)")
    parser.add_argument("--key-file", metavar="FILE", type=Path, help=f"a file with the API key, else it is taken from {KEY}")
    parser.add_argument("--json", action="store_true", help="print JSON")


def ask(
    arguments: argparse.Namespace, method: str, path: str, body: object = None, patience: Patience = Patience()
) -> dict[str, Any]:
    """The gateway's JSON. Raises RemoteError and NoError."""
    host, port = _address(arguments.admin)
    headers = {"X-API-Key": _key(arguments.key_file), "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(host, port, timeout=patience.whole)
    waiting = threading.Timer(patience.silent, lambda: print(f"waiting for {arguments.admin} …", file=sys.stderr))
    waiting.daemon = True
    waiting.start()
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = json.loads(answer.read(LARGEST))
    except (ValueError, http.client.HTTPException) as error:
        raise RemoteError(
            f"what answers at {arguments.admin} is no admin port of Penstock, which is 8082 unless configured"
        ) from error
    except TimeoutError as error:
        raise RemoteError(f"{arguments.admin} does not answer within {patience.whole:g} s") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise RemoteError(f"no gateway at {arguments.admin}: {why}; is it running, and is that its listen.admin?") from error
    finally:
        waiting.cancel()
        connection.close()
    return _judged(answer.status, content, arguments.admin)


def asked(
    arguments: argparse.Namespace, program: str, method: str, path: str, body: object = None
) -> dict[str, Any] | Literal[1, 2]:
    """The gateway's JSON; where there is none stderr says why, and this is the exit status: 1 if its answer is no, else 2."""
    try:
        return ask(arguments, method, path, body)
    except RemoteError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except NoError as error:
        print(json.dumps(error.content) if arguments.json else f"{program}: {error}", file=sys.stderr)
        return 1


def _judged(status: int, content: Any, where: str) -> dict[str, Any]:
    if isinstance(content, dict) and status == 200:
        return content
    if not isinstance(content, dict) or "error" not in content:
        raise RemoteError(f"{where} answers {status} in a way this command does not understand")
    if status in (401, 403):
        raise RemoteError(f"{content['error']}\nmake a key: {MAKE_KEY}\nand let the gateway read it: kill -HUP its process")
    if status >= 500:
        raise RemoteError(str(content["error"]))
    raise NoError(status, content)


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.username is not None:
        raise RemoteError(f"--admin {url}: give the admin port as http://HOST:PORT")
    return host, port or 8082


def _key(file: Path | None) -> str:
    try:
        key = os.environ.get(KEY, "") if file is None else read_file(file, 4096).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RemoteError(f"{file}: {getattr(error, 'strerror', None) or 'holds no key'}") from error
    if not key:
        raise RemoteError(f"an operator's key is needed: set {KEY} or give --key-file; to make one:\n{MAKE_KEY}")
    if not (key.isascii() and key.isprintable()):
        raise RemoteError(f"{file or KEY} holds something else than one API key")
    return key
