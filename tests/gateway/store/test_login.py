"""Tests of gateway.store.login: a password and certificates, from outside the configuration."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gateway.store.address import PASSWORD
from gateway.store.login import Login
from gateway.store.trouble import StoreError


def test_the_password_comes_from_the_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file wins, is read anew each time, and its last line's end does not count."""
    monkeypatch.setenv(PASSWORD, "from outside")
    file = tmp_path / "password"
    file.write_text("one\n")
    login = Login(password_file=file)
    assert (b"from outside", b"one") == (Login().password(), login.password())
    file.write_text("two")
    assert b"two" == login.password()
    monkeypatch.delenv(PASSWORD)
    assert b"" == Login().password()
    file.write_bytes(b"\xff")  # whatever Redis was told
    assert b"\xff" == login.password()


def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    """By name; the store is then away, and the gateway is not."""
    with pytest.raises(StoreError, match="nowhere cannot be read") as no_password:
        Login(password_file=tmp_path / "nowhere").password()
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(StoreError, match=r"ca\.pem cannot be read") as no_certificate:
        Login(ca_file=tmp_path / "ca.pem").certificates()
    assert ("password", "tls") == (no_password.value.reason, no_certificate.value.reason)


def test_without_a_file_the_systems_certificates_count() -> None:
    """The server's name and certificate are always checked."""
    made = Login().certificates()
    assert (True, ssl.CERT_REQUIRED) == (made.check_hostname, made.verify_mode)
