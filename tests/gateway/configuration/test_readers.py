"""Tests of gateway.configuration.readers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.problems import UnreadableError
from gateway.configuration.readers import (
    Address,
    one_of,
    read_address,
    read_amount,
    read_count,
    read_limit,
    read_listener,
    read_name,
    read_timeout,
    read_words,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", Address("127.0.0.1", 8000)),
        ("triton-0.triton.default.svc:8001", Address("triton-0.triton.default.svc", 8001)),
        ("localhost:65535", Address("localhost", 65535)),
        ("[::1]:8000", Address("::1", 8000)),
        ("docker_compose_name:80", Address("docker_compose_name", 80)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """Names, IPv4 and bracketed IPv6 with a port; written back as they came."""
    assert address == read_address(text)
    assert text == str(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        ":8000",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:http",
        "256.0.0.1:80",
        "1.2.3:80",
        "::1:80",
        "[::1]",
        "[127.0.0.1]:80",
        "[zz]:80",
        "user@host:80",
        "a b:80",
        "host:80/path",
        "-a:80",
        "a..b:80",
        "a" * 300 + ":80",
        "host:80\n",
        "hôte:80",
        "host:٨٠",
        8000,
        None,
    ],
)
def test_no_addresses(text: object) -> None:
    """Whatever is not exactly host:port is refused."""
    with pytest.raises(UnreadableError):
        read_address(text)


def test_url_instead_of_address() -> None:
    """A URL brings the address in it, and never the password in it."""
    with pytest.raises(UnreadableError) as refused:
        read_address("http://name:hunter2@triton:8000/v2")
    assert "triton:8000" == refused.value.suggestion
    assert "hunter2" not in refused.value.message


def test_port_chosen_by_system() -> None:
    """One may listen on port 0, but not connect to it."""
    assert Address("127.0.0.1", 0) == read_listener("127.0.0.1:0")


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 128, "7"])
def test_names(name: str) -> None:
    """Letters, digits, dot, underscore and hyphen, up to 128."""
    assert name == read_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "x" * 129, "a\n", 7, None, True, []])
def test_no_names(name: object) -> None:
    """Nothing else is a name."""
    with pytest.raises(UnreadableError):
        read_name(name)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, 10**10])
def test_no_counts(value: object) -> None:
    """A count is a whole number from 1, and true is not one."""
    with pytest.raises(UnreadableError):
        read_count(value)


@pytest.mark.parametrize("value", [-1, -0.001, "1", True, None])
def test_no_amounts(value: object) -> None:
    """An amount is a number of at least 0."""
    with pytest.raises(UnreadableError):
        read_amount(value)


def test_nothing_is_no_timeout_and_no_limit() -> None:
    """A timeout of no time and a limit of no bytes are refused."""
    with pytest.raises(UnreadableError):
        read_timeout("0s")
    with pytest.raises(UnreadableError):
        read_limit("0B")


def test_words() -> None:
    """One word or several, each once, in the alphabet's order."""
    assert ("a",) == read_words("a")
    assert ("a", "b") == read_words(["b", "a", "b"])


@pytest.mark.parametrize("value", [[], ["a", 1], 7, None, {}])
def test_no_words(value: object) -> None:
    """Nothing, and what is no text, match nothing."""
    with pytest.raises(UnreadableError):
        read_words(value)


def test_one_of() -> None:
    """A word of a later version is told from a misspelt one."""
    read = one_of(("round-robin", "least-request"), ("hash",))
    assert "round-robin" == read("round-robin")
    with pytest.raises(UnreadableError, match="not supported by this version yet"):
        read("hash")
    with pytest.raises(UnreadableError) as refused:
        read("roundrobin")
    assert "round-robin" == refused.value.suggestion


@given(st.text())
def test_any_text(text: str) -> None:
    """Whatever text is given, an address is read or refused, and one that is read is written back the same."""
    try:
        address = read_address(text)
    except UnreadableError:
        return
    assert address == read_address(str(address))
