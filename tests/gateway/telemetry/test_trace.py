"""Trace context: valid goes through unchanged, invalid is dropped (W3C Trace Context level 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.trace import passed_on, trace_id

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_valid_context_is_passed_on_unchanged() -> None:
    """Both headers go on, character by character."""
    headers = {"traceparent": PARENT, "tracestate": "rojo=00f067aa0ba902b7,fw529a3039@dt=FfAAAQ", "accept": "*/*"}
    expected = (("traceparent", PARENT), ("tracestate", "rojo=00f067aa0ba902b7,fw529a3039@dt=FfAAAQ"))
    assert expected == passed_on(headers)


def test_no_context_is_nothing() -> None:
    """Without a traceparent nothing goes on, a lone tracestate included."""
    assert () == passed_on({})
    assert () == passed_on({"tracestate": "a=1"})


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT + "-00",  # version 00 has nothing after its flags
        PARENT.replace("00-4b", "ff-4b"),
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        f"{PARENT}, {PARENT}",  # a repeated header
        PARENT + "\n",
        "01" + PARENT[2:] + "x",
        "01" + PARENT[2:] + "-" + "x" * 300,
    ],
)
def test_invalid_parent_drops_everything(parent: str) -> None:
    """A traceparent that is not exactly one drops the state with it."""
    assert () == passed_on({"traceparent": parent, "tracestate": "a=1"})
    assert "" == trace_id(parent)


def test_later_version_may_say_more() -> None:
    """A version that we do not know is passed on with what it adds."""
    later = "cc" + PARENT[2:] + "-what-the-future-brings"
    assert (("traceparent", later),) == passed_on({"traceparent": later})
    assert "4bf92f3577b34da6a3ce929d0e0e4736" == trace_id(later)


@pytest.mark.parametrize(
    "state",
    [
        "",
        " , ",
        "a",
        "a=",
        "A=1",
        "a=1=2",
        "a=1 ,a=2",
        "a=\u00e9",
        "a=1\n",
        "=1",
        ",".join(f"k{n}=1" for n in range(33)),
        "a=" + "1" * 257,
    ],
)
def test_invalid_state_is_dropped_alone(state: str) -> None:
    """The parent goes on without it."""
    assert (("traceparent", PARENT),) == passed_on({"traceparent": PARENT, "tracestate": state})


def test_empty_members_and_spaces_are_dropped() -> None:
    """Joined headers leave spaces and empty members behind; they mean nothing."""
    assert ("tracestate", "a=1,b=2") == passed_on({"traceparent": PARENT, "tracestate": "a=1 ,\t, b=2"})[1]


def test_long_state_loses_whole_members_from_its_end() -> None:
    """Beyond 512 characters the oldest members go, the newest stay whole."""
    members = [f"key{n}={'v' * 90}" for n in range(8)]
    assert ("tracestate", ",".join(members[:5])) == passed_on({"traceparent": PARENT, "tracestate": ",".join(members)})[1]


@given(st.text(max_size=80), st.text(max_size=80))
def test_nothing_but_printable_ascii_goes_on(parent: str, state: str) -> None:
    """Whatever a client sends, no header that we write can be split or injected by it."""
    for headers in ({"traceparent": parent, "tracestate": state}, {"traceparent": PARENT, "tracestate": state}):
        for _, value in passed_on(headers):
            assert value.isascii()
            assert value.isprintable()
