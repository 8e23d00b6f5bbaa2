"""Tests of gateway.store.address: URLs of Redis servers, and passwords that never stand in them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.address import PASSWORD, Address, AddressError, Login, parse
from gateway.store.trouble import StoreError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis://h", Address("h")),
        ("redis://127.0.0.1:6380/3", Address("127.0.0.1", 6380, database=3)),
        ("redis://[::1]:6380", Address("::1", 6380)),
        ("rediss://limits@redis.internal/", Address("redis.internal", tls=True, user="limits")),
        ("redis://a%40b@h", Address("h", user="a@b")),
        ("unix:///run/redis/redis.sock", Address(path="/run/redis/redis.sock")),
        ("unix://u@/run/r.sock?db=2", Address(path="/run/r.sock", user="u", database=2)),
    ],
)
def test_a_url_is_taken_apart(text: str, address: Address) -> None:
    """Host, port, database, user, TLS or a socket's path."""
    assert address == parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("redis://:hunter2@h", "a URL with a password is refused"),
        ("unix://u:hunter2@/run/r.sock", "a URL with a password is refused"),
        ("redis://h:99999", "is not a URL that can be read"),
        ("redis://h:0", "is not redis://host:port/database"),
        ("redis://h?db=1", "is not redis://host:port/database"),
        ("redis://", "is not redis://host:port/database"),
        ("redis://h /1", "is not a URL that can be read"),
        ("redis://h/x", "the database is a whole number"),
        ("redis://h/99999", "the database is a whole number"),
        ("unix://run/redis.sock", "needs the path of a socket"),
        ("unix:///r.sock?password=hunter2", "the database is a whole number"),
        ("http://h", "is not a redis://, rediss:// or unix:// URL"),
    ],
)
def test_a_url_that_names_no_store_is_refused(text: str, why: str) -> None:
    """With what is wrong, and without repeating what might be a password."""
    with pytest.raises(AddressError) as refused:
        parse(text)
    assert str(refused.value).startswith(why)
    assert "hunter2" not in str(refused.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else than AddressError comes of it."""
    for start in ("", "redis://", "unix://"):
        try:
            parse(start + text)
        except AddressError:
            pass


def test_an_address_is_told_without_who_asks() -> None:
    """In the log stands where, and nothing else."""
    assert ["h:6379", "[::1]:6379", "/r.sock"] == [
        str(parse(url)) for url in ("redis://u@h/2", "redis://[::1]", "unix:///r.sock?db=1")
    ]


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
