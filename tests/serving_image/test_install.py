"""The installer does only what is outdated, and explains what failed."""

from pathlib import Path

import environment
import install
import pytest
from layout import SOURCES, Layout


def finished(layout: Layout) -> None:
    """Leave results and stamps as a complete installation does."""
    for step, stamp, mark in install.outdated(layout):
        step.result.mkdir(parents=True)
        stamp.write_text(mark)


def test_a_complete_installation_has_nothing_to_do(tmp_path: Path) -> None:
    """Every stamp matches and every result is there."""
    layout = Layout(tmp_path)
    assert ["venv", "trained", "repository"] == [step.name for step, _, _ in install.outdated(layout)]
    finished(layout)
    assert [] == install.outdated(layout)
    install.install(layout)


def test_a_lost_result_or_a_foreign_stamp_repeats_that_step_only(tmp_path: Path) -> None:
    """A deleted repository is assembled again without training again."""
    layout = Layout(tmp_path)
    finished(layout)
    layout.repository.rmdir()
    assert ["repository"] == [step.name for step, _, _ in install.outdated(layout)]
    (tmp_path / "trained.stamp").write_text("another")
    assert ["trained", "repository"] == [step.name for step, _, _ in install.outdated(layout)]


def test_a_changed_step_changes_those_after_it(tmp_path: Path) -> None:
    """A new environment trains anew, because each fingerprint contains the one before."""
    step = install.steps(Layout(tmp_path))[1]
    assert install.fingerprint(step, "one environment") != install.fingerprint(step, "another")
    assert install.fingerprint(step, "one") == install.fingerprint(step, "one")


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("Error: ensurepip is not available", "python3-venv"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: Could not find a version that satisfies the requirement x", "registry"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "requirements.lock"),
        ("something else", "the log says why"),
    ],
)
def test_a_failed_command_is_explained(output: str, hint: str) -> None:
    """The cause is put in words, the last lines are shown, and the log is named."""
    text = environment.explain("pip", f"first\n{output}", Path("install.log"))
    assert hint in text
    assert f"| {output}" in text
    assert "install.log" in text


def test_a_command_that_fails_raises_with_its_last_lines(tmp_path: Path) -> None:
    """What the command printed is in the error and in the log; its temporary folder is gone."""
    with pytest.raises(environment.InstallError, match=r"(?s)shell failed.*\| oh no"):
        environment.run("shell", ["/bin/sh", "-c", "echo oh no; exit 3"], Layout(tmp_path))
    assert b"oh no\n" == (tmp_path / "install.log").read_bytes()
    assert not (tmp_path / "tmp").exists()


def test_the_lock_pins_and_hashes_everything_and_names_no_machine() -> None:
    """numpy stays below 2, torch is not in it, and no registry host or path is written down."""
    lock = (SOURCES / "requirements.lock").read_text()
    pinned = dict(line.removesuffix(" \\").split("==") for line in lock.splitlines() if "==" in line)
    assert pinned["numpy"].startswith("1.26")
    assert "0.7.0" == pinned["nvidia-pytriton"]
    assert "torch" not in pinned
    assert len(pinned) <= lock.count("--hash=sha256:")
    assert "/" not in lock
