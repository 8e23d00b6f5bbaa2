"""The one exception that crosses packages."""

from __future__ import annotations

import pickle

import pytest

from backends.errors import ErrorKind, InferenceError, invalid, readable


def test_the_reason_is_the_kind_s_word_unless_given() -> None:
    """Every error has a bounded word for X-Penstock-Error."""
    assert "not-found" == InferenceError(ErrorKind.NOT_FOUND, "no such model").reason
    assert "not-loaded" == InferenceError(ErrorKind.UNAVAILABLE, "gone", reason="not-loaded").reason


def test_what_is_not_said_is_ours_and_final() -> None:
    """Without a source the gateway is to blame, and nobody should ask again."""
    error = InferenceError(ErrorKind.INTERNAL, "a defect")
    assert ("gateway", False, None, "a defect") == (error.source, error.retryable, error.retry_after, str(error))


def test_invalid_blames_the_client() -> None:
    """The commonest error in short."""
    error = invalid("too many rows", "rows")
    assert (ErrorKind.INVALID, "client", "rows") == (error.kind, error.source, error.reason)
    assert "invalid" == invalid("bad").reason


def test_kinds_are_words() -> None:
    """Kinds are written into labels and headers as they are: short, lower case, no spaces."""
    assert [] == [kind for kind in ErrorKind if not kind.value.replace("-", "").isalpha() or kind.value != kind.value.lower()]
    assert ErrorKind.DEADLINE is pickle.loads(pickle.dumps(ErrorKind.DEADLINE))


def test_an_error_that_has_ended_holds_no_frames() -> None:
    """Nor does what caused it."""

    def fail() -> None:
        try:
            raise OSError("first")
        except OSError as cause:
            raise InferenceError(ErrorKind.BROKEN, "second") from cause

    with pytest.raises(InferenceError) as caught:
        fail()
    error = caught.value
    error.ended()
    assert error.__cause__ is not None
    assert (None, None) == (error.__traceback__, error.__cause__.__traceback__)


def test_again() -> None:
    """Another exception that says the same, or the same in other words."""
    error = InferenceError(ErrorKind.LIMITED, "first", source="triton", reason="much", retryable=True, retry_after=2.0)
    for found, message in ((error.again(), "first"), (error.again("second"), "second")):
        assert found is not error
        assert message == str(found)
        assert {**vars(error), "message": message} == vars(found)


@pytest.mark.parametrize(
    "trace",
    [
        'Traceback (most recent call last):\n File "/srv/x.py", line 3, in f\nValueError: SECRET',
        "Failed to process the request(s) for instance 'm_0', message: SECRET\n\nAt:\n  /models/m/1/model.py(12): execute\n",
        "SECRET\n at com.acme.Model.run(Model.java:12)",
        "SECRET\n   at Acme.Run() in C:\\acme\\Model.cs:line 12",
        "panic: SECRET\ngoroutine 1 [running]:\nmain.main()",
        "thread 'main' panicked at src/main.rs:2:5: SECRET",
        "SECRET\n 0# 0x00007F1A2B3C4D in /opt/libtriton.so".lower(),
        "CUDA error SECRET at /src/kernels/gemm.cu:77",
        "Error: SECRET\n    at Object.<anonymous> (/srv/app.js:3:7)",
    ],
)
def test_nothing_of_a_stack_trace_is_readable(trace: str) -> None:
    """Whoever wrote it, and wherever in the text it stands."""
    assert "" == readable(trace) == readable("the input is bad: " + trace)


@pytest.mark.parametrize(
    "text",
    [
        "[request id: q] expected 2 inputs but got 1 inputs for model 'simple'.",
        "unexpected shape for input 'INPUT1' for model 'simple'. Expected [-1,16], got [1,17]. NOTE: Setting a non-zero...",
        "tensor 'x.h' has 12 elements, expected 0x10 (see docs at http://h:8000/v2)",
    ],
)
def test_a_refusal_is_readable(text: str) -> None:
    """What Triton says of a client's mistake."""
    assert text == readable(text)


def test_what_is_readable_is_a_short_line() -> None:
    """However long and broken it came."""
    assert ("a b", "x" * 500) == (readable(" a\r\n\tb "), readable("x" * 5000))
