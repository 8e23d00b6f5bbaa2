"""What clients hear of a backend's errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from backends.errors import ErrorKind, InferenceError
from policies.call import Call, translated


@pytest.fixture
def call(make_call: Callable[..., Call]) -> Call:
    """A call that asks variant fast, which is `b_fast` at its backend."""
    made = make_call()
    return replace(made, target=made.plan.stages[0].target)


def test_the_backends_own_name_stays_behind(call: Call) -> None:
    """A refusal speaks of the model by the name its client used."""
    error = InferenceError(ErrorKind.INVALID, "unexpected shape for model 'b_fast'", reason="shape", retry_after=2.0)
    told = translated(error, call)
    assert (ErrorKind.INVALID, "unexpected shape for model 'digits'", "shape") == (told.kind, told.message, told.reason)
    assert 2.0 == told.retry_after


def test_what_needs_no_translation_is_the_same_error(call: Call) -> None:
    """Nothing of it is lost, a time to come back for one."""
    error = InferenceError(ErrorKind.OVERLOADED, "full", retry_after=2.0)
    assert error is translated(error, call)


def test_a_model_that_is_not_loaded(call: Call) -> None:
    """It is our outage, unless the client asked for that very version."""
    missing = InferenceError(ErrorKind.NOT_FOUND, "unknown model")
    assert ErrorKind.UNAVAILABLE is translated(missing, call).kind
    assert missing is translated(missing, replace(call, request=replace(call.request, version="7")))
