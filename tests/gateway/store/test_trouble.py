"""Tests of gateway.store.trouble: what an answer or a failure means."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.trouble import ADVICE, refused, unreachable


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "password"),
        ("NOAUTH Authentication required.", "password"),
        ("ERR AUTH <password> called without any password configured for the default user.", "password"),
        ("NOPERM this user has no permissions to run the 'evalsha' command", "permission"),
        ("READONLY You can't write against a read only replica.", "read-only"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "full"),
        ("NOSCRIPT No matching script. Please use EVAL.", "forgotten"),
        ("ERR Error running script (call to f_1): @user_script:7: @user_script: 7: -OOM command not allowed", "full"),
        ("ERR The user executing the script can't run this command or subcommand script: 1, on @user_script:1.", "permission"),
        ("LOADING Redis is loading the dataset in memory", "loading"),
        ("MOVED 1234 10.0.0.1:6379", "cluster"),
        ("NOREPLICAS Not enough good replicas to write.", "replicas"),
        ("DENIED Redis is running in protected mode because protected mode is enabled", "protected"),
        ("ERR max number of clients reached", "clients"),
        ("ERR DB index is out of range", "database"),
        ("ERR unknown command", "refused"),
        ("", "refused"),
    ],
)
def test_an_error_says_what_to_do(reply: str, reason: str) -> None:
    """Each that Redis knows has a word for the metric and an advice for people."""
    error = refused(reply)
    assert reason == error.reason
    assert ADVICE[reason] in str(error)


@given(st.text())
def test_only_the_first_word_of_an_error_is_told(reply: str) -> None:
    """Redis repeats arguments in its errors; a word that is none of Redis's is not told either."""
    said = str(refused(f"ERR {reply} hunter2"))
    assert "hunter2" not in said
    assert str(refused("ERR")) == said or any(each in reply for each in ("password", " -", "can't"))


def test_why_there_is_no_connection() -> None:
    """Refused, not in time, or no TLS."""
    assert ("unreachable", True) == _told(ConnectionRefusedError(111, "Connection refused"), "Connection refused")
    assert ("unreachable", True) == _told(TimeoutError(), "no connection in time")
    assert ("unreachable", True) == _told(UnicodeError("label too long"), "UnicodeError")
    assert ("tls", True) == _told(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x"), "no TLS connection")


def _told(error: OSError | UnicodeError, words: str) -> tuple[str, bool]:
    found = unreachable(error)
    return found.reason, words in str(found)
