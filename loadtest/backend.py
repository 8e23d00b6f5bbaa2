"""The one fast backend that stands behind every proxy: nginx, which answers each infer with a file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from string import Template

from loadtest import processes, traffic
from loadtest.processes import MissingToolError, Running

CONFIGURATIONS = Path(__file__).parent / "configurations"


def write_configuration(name: str, folder: Path, values: Mapping[str, object]) -> Path:
    """Fill in the template of this name and write it into the run's folder. nginx's own variables are written `$$name` there."""
    target = folder / name
    target.write_text(Template((CONFIGURATIONS / name).read_text()).substitute(values, folder=folder))
    return target


def tool(name: str, package: str) -> str:
    """Where a program is. Raises MissingToolError with the Debian package to install where it is not."""
    # Debian keeps servers in sbin, which is not on everybody's PATH.
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        raise MissingToolError(f"{name} is not installed: apt-get install {package}")
    return found


def nginx_command(configuration: Path, folder: Path) -> list[str]:
    """How one nginx is started with nothing outside the run's folder."""
    return [tool("nginx", "nginx"), "-p", str(folder), "-e", "stderr", "-c", str(configuration)]


def nginx_user() -> str:
    """nginx started by root would drop to a user who cannot read the run's folder."""
    return "user root;" if os.geteuid() == 0 else ""


def start(folder: Path, cores: Collection[int]) -> tuple[Running, int]:
    """Start it; returns the process and its port. Raises StartError."""
    port = processes.free_port()
    locations = [_locations(folder, model, answer) for model, answer in traffic.answers().items()]
    values = {"port": port, "user": nginx_user(), "locations": "\n".join(locations)}
    configuration = write_configuration("backend.conf", folder, values)
    running = processes.start("backend", nginx_command(configuration, folder), cores, folder / "backend.log")
    running.wait_ready(lambda: processes.listens(port))
    return running, port


def _locations(folder: Path, model: str, answer: traffic.Message) -> str:
    path = f"/v2/models/{model}"
    file = folder / "answers" / path.lstrip("/") / "infer"
    file.parent.mkdir(parents=True)
    file.write_bytes(answer.body)
    headers = dict(answer.headers)
    length = headers.get(traffic.LENGTH_HEADER)
    metadata = {
        "name": model,
        "versions": ["1"],
        "platform": "pytorch",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, traffic.FEATURES]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, traffic.CLASSES]},
            {"name": "label", "datatype": "INT64", "shape": [-1, 1]},
        ],
    }
    # A file answers GET only (405 to POST); error_page turns that into the file itself, after nginx has read the body.
    return f"""
        location = {path}/infer {{
            default_type {headers["Content-Type"]};
            add_header Last-Modified "";
            {f"add_header {traffic.LENGTH_HEADER} {length};" if length else ""}
            error_page 405 =200 $uri;
        }}
        location = {path}/ready {{ return 200; }}
        location = {path} {{ default_type application/json; return 200 '{json.dumps(metadata)}'; }}"""
