"""What every scene of the demo plays in: the running parts, the clients, the digits and what is known of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from gateway.demo.client import GrpcClient, HttpClient, Question, Reply, Tally
from gateway.demo.heldout import HeldOut, Rows
from gateway.demo.policy import MODEL, Policy
from gateway.demo.processes import Credentials, Gateway


@dataclass(frozen=True, slots=True)
class Setting:
    """`triton` is the serving image's `triton.Server`; `http` and `grpc` are clients for one thread at a time."""

    gateway: Gateway
    triton: Any
    policy: Policy
    held_out: HeldOut
    credentials: Credentials
    tally: Tally
    http: HttpClient
    grpc: GrpcClient

    def digits(self, rows: slice, model: str = MODEL) -> Question:
        """Those held-out digits as one question under the free key."""
        return Question(model, {"image": self.held_out.images[rows]}, self.credentials.free)

    def offline(self, variant: str) -> Rows:
        """What the variant's model says of all held-out rows by itself: float32 [n, 10]."""
        chosen = self.policy.variants[variant]
        return self.held_out.of(chosen["model"], chosen.get("version", ""))

    def bearer(self, **claims: Any) -> Mapping[str, str]:
        """A token with these claims, as headers."""
        return self.credentials.issuer.bearer(**claims)

    def at_once(self, questions: Sequence[Question], clients: int) -> list[Reply]:
        """All of them over so many connections side by side; the replies in the questions' order."""
        own = threading.local()
        with ExitStack() as opened, ThreadPoolExecutor(clients) as pool:

            def ask(question: Question) -> Reply:
                if not hasattr(own, "client"):
                    own.client = HttpClient(self.gateway.http, self.tally)
                    opened.callback(own.client.close)
                return own.client.ask(question)  # type: ignore[no-any-return]

            return list(pool.map(ask, questions))


class Flow:
    """The same questions again and again in the background, while something is done to the gateway. Use as `with`."""

    def __init__(self, setting: Setting, questions: Iterable[Question]) -> None:
        self.replies: list[Reply] = []
        self._setting = setting
        self._questions = list(questions)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flow", daemon=True)
        self._failure: Exception | None = None

    def __enter__(self) -> Flow:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def since(self, start: int, holds: Callable[[Reply], bool]) -> bool:
        """Whether some reply after the first `start` is such."""
        return any(holds(reply) for reply in self.replies[start:])

    def _run(self) -> None:
        client = HttpClient(self._setting.gateway.http, self._setting.tally)
        try:
            while not self._ending.is_set():
                for question in self._questions:
                    self.replies.append(client.ask(question))
        except Exception as error:  # noqa: BLE001  told by whoever leaves the `with`
            self._failure = error
        finally:
            client.close()
