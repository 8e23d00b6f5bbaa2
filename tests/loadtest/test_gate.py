"""The gate alone."""

import http.client
import json
import sys
from pathlib import Path

import pytest

from loadtest import processes


@pytest.mark.slow
def test_it_answers_whatever_it_is_asked_with_the_same_bytes(tmp_path: Path) -> None:
    """A body is read, and nothing of it looked at."""
    answer, port = tmp_path / "answer.json", processes.free_port()
    answer.write_text(json.dumps({"headers": [["x-said", "1"]], "body": "AAH/"}))
    command = (sys.executable, "-m", "loadtest.gate", str(port), str(answer))
    running = processes.start("gate", command, {processes.cores().load}, tmp_path / "log")
    try:
        running.wait_ready(lambda: processes.listens(port))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for path in ("/v2", "/anything"):
            connection.request("POST", path, b"x" * 5000)
            response = connection.getresponse()
            assert (200, "1", b"\0\1\xff") == (response.status, response.getheader("x-said"), response.read())
        connection.close()
    finally:
        running.stop()
