"""What workers that replace others may find in gateway.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.configuration.load import load_gateway
from gateway.configuration.problems import PolicyError
from gateway.workers.reread import reread

BEFORE = "workers: 2\nlisten: {http: 127.0.0.1:0}\nauth: {anonymous: true}\n"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (BEFORE.replace("workers: 2", "workers: 3"), "workers: changes with a restart only"),
        (BEFORE.replace("127.0.0.1:0", "127.0.0.1:81"), "listen: changes with a restart only"),
        (BEFORE + "state: other\n", "state: changes with a restart only"),
        (BEFORE + "wrkers: 3\n", "gateway.yaml:4: wrkers: unknown key"),
    ],
)
def test_what_cannot_be_taken(tmp_path: Path, after: str, said: str) -> None:
    """What the parent has opened itself, and mistakes."""
    file = tmp_path / "gateway.yaml"
    file.write_text(after)
    with pytest.raises(PolicyError) as caught:
        reread(file, load_gateway(BEFORE.encode(), "before"))
    assert said in str(caught.value)


def test_all_else_is_taken(tmp_path: Path) -> None:
    """As it stands there now."""
    file = tmp_path / "gateway.yaml"
    file.write_text(BEFORE + "limits: {body: 1KiB}\n")
    assert 1024 == reread(file, load_gateway(BEFORE.encode(), "before")).limits.body
