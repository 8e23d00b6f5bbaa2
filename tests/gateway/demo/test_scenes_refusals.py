"""Scenes about refusals end when somebody is let in, or told what nobody should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import jwt
import numpy as np
import pytest

from gateway.demo.client import Question, Reply
from gateway.demo.expect import WrongError
from gateway.demo.policy import read
from gateway.demo.processes import Gateway
from gateway.demo.scenes_refusals import bad_questions, credentials, deadline, limited
from gateway.demo.setting import Setting
from tests.gateway.demo.stage import POLICY, FakeGateway, reply

Make = Callable[..., Setting]


def guarded(question: Question) -> Reply:
    """Only the token for another model is known at all; nobody else is."""
    token = question.headers.get("authorization", "").removeprefix("Bearer ")
    scope = jwt.decode(token, options={"verify_signature": False})["scope"] if token else ""
    return replace(reply(403 if scope == "models:infer:simple" else 401), error="no")


def strict(question: Question) -> Reply:
    """As the gateway's own checks."""
    if question.model == "no_such_model":
        return reply(404)
    image = question.inputs.get("image")
    if image is None or image.dtype != np.float32 or image.shape[1] != 64:
        return replace(reply(400), error="input 'image' is [2, 63]; it takes [-1, 64]")
    return reply()


def in_time(question: Question) -> Reply:
    """504 for whoever is in a hurry."""
    return reply(504, x_penstock_error="deadline") if "x-request-timeout-ms" in question.headers else reply()


def test_strangers_kept_out_pass(setting: Make) -> None:
    """Over both transports."""
    made = setting(guarded, lambda _: reply("UNAUTHENTICATED"))
    assert "401" in credentials(made)


def test_a_stranger_let_in_is_wrong(setting: Make) -> None:
    """By gRPC alone is enough."""
    with pytest.raises(WrongError, match=r"gRPC status with no credential(?s:.*)UNAUTHENTICATED(?s:.*)OK"):
        credentials(setting(guarded, lambda _: reply("OK")))


def test_an_error_that_repeats_a_credential_is_wrong(setting: Make) -> None:
    """Logs and screens are read by others."""
    talkative = setting(lambda question: replace(reply(401), error=f"bad {question.headers}"), lambda _: reply("UNAUTHENTICATED"))
    with pytest.raises(WrongError, match="does not repeat a wrong key"):
        credentials(talkative)


def test_bad_questions_refused_in_words_pass(setting: Make) -> None:
    """The message is shown."""
    assert "[2, 63]" in bad_questions(setting(strict))
    with pytest.raises(WrongError, match=r"status for a wrong shape(?s:.*)400(?s:.*)200"):
        bad_questions(setting(lambda _: reply()))


def test_a_deadline_that_holds_passes(setting: Make) -> None:
    """504, its reason, at once."""
    assert "504" in deadline(setting(in_time))
    with pytest.raises(WrongError, match=r"128 rows within 2 ms(?s:.*)504(?s:.*)200"):
        deadline(setting(lambda _: reply()))
    with pytest.raises(WrongError, match="the answer at once"):
        deadline(setting(lambda question: replace(in_time(question), seconds=2.0)))


@pytest.mark.parametrize(("let", "complaint"), [(20, None), (19, "from 20"), (40, "statuses"), (30, "from 20")])
def test_a_limit_that_holds_passes(setting: Make, let: int, complaint: str | None) -> None:
    """Its burst and not much more, and nobody else's loss."""
    gateway, left = FakeGateway(), {"hooli": let, "initech": 1}

    def answer(question: Question) -> Reply:
        token = question.headers["authorization"].removeprefix("Bearer ")
        tenant = jwt.decode(token, options={"verify_signature": False})["tenant"]
        left[tenant] -= 1
        if left[tenant] < 0:
            return reply(429, retry_after="1")
        gateway.metrics["penstock_backend_requests_total"] = gateway.metric("penstock_backend_requests_total") + 1
        return reply()

    made = replace(setting(answer), policy=read(POLICY), gateway=cast(Gateway, gateway))
    if complaint is None:
        assert "20 answers" in limited(made)
    else:
        with pytest.raises(WrongError, match=complaint):
            limited(made)
