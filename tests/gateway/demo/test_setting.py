"""Questions side by side keep their order, and those in the background never get lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway.demo.expect import WrongError, until
from gateway.demo.setting import Flow, Setting
from tests.gateway.demo.stage import reply


class Numbering(BaseHTTPRequestHandler):
    """Answers with the model's name, on connections that stay."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"outputs": []}).encode()
        self.send_response(200)
        self.send_header("X-Penstock-Variant", self.path.split("/")[3])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def served(setting: Callable[..., Setting]) -> Iterator[Setting]:
    """A setting whose gateway is the class above."""
    made = setting(lambda _: reply())
    with ThreadingHTTPServer(("127.0.0.1", 0), Numbering) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        made.gateway.http = f"127.0.0.1:{server.server_address[1]}"
        yield made
        server.shutdown()


def test_replies_come_in_the_questions_order(served: Setting) -> None:
    """Whichever connection was first."""
    names = [f"model{number}" for number in range(40)]
    replies = served.at_once([served.digits(slice(0, 1), name) for name in names], 4)
    assert names == [found.variant for found in replies]
    assert 40 == served.tally.sent


def test_a_flow_goes_on_until_it_is_left(served: Setting) -> None:
    """Its replies are there to look at meanwhile and afterwards."""
    with Flow(served, [served.digits(slice(0, 1), "a"), served.digits(slice(0, 1), "b")]) as flow:
        until("both", lambda: flow.since(0, lambda found: found.variant == "b"))
    assert {"a", "b"} == {found.variant for found in flow.replies}
    assert len(flow.replies) == served.tally.sent


def test_a_flow_that_breaks_tells(served: Setting) -> None:
    """Whoever leaves it gets the error."""
    served.gateway.http = "127.0.0.1:1"
    with pytest.raises(WrongError, match="expected an answer"), Flow(served, [served.digits(slice(0, 1))]) as flow:
        until("nothing", lambda: not flow.replies)


def test_offline_answers_are_those_of_the_variants_model(setting: Callable[..., Setting]) -> None:
    """Found through the policy."""
    assert 9 == setting(lambda _: reply()).offline("fast")[2].argmax()
