"""The one exception that crosses packages."""

from __future__ import annotations

import pickle

import pytest

from backends.errors import ErrorKind, InferenceError, invalid


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
