"""The fixed backend, as real nginx."""

import shutil
from pathlib import Path

import pytest

from loadtest import backend, drivers, processes, traffic
from loadtest.processes import MissingToolError

needs_nginx = pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None, reason="needs nginx")


def test_a_missing_tool_names_its_package() -> None:
    """Who reads it knows what to install."""
    with pytest.raises(MissingToolError, match="no-such-tool is not installed: apt-get install its-package"):
        backend.tool("no-such-tool", "its-package")


@needs_nginx
def test_it_answers_every_infer_with_its_file(tmp_path: Path) -> None:
    """POST with a body gets the fixed answer of the model, binary or JSON, with the headers that describe it."""
    running, port = backend.start(tmp_path, {processes.cores().load})
    try:
        drivers.check_http(port, traffic.question("1k"), [])
        drivers.check_http(port, traffic.question("json"), [])
    finally:
        running.stop()
