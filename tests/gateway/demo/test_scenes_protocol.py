"""Scenes about the wire end when one form answers otherwise than another, or numbers do not add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gateway.demo.client import Question, Reply
from gateway.demo.expect import WrongError
from gateway.demo.scenes_protocol import same_answers, savings, timing
from gateway.demo.setting import Setting
from tests.gateway.demo.stage import reply

Make = Callable[..., Setting]


def answer(question: Question, status: int | str = 200) -> Reply:
    """The same tensor to everybody."""
    outputs = {"probabilities": np.full((8, 10), 0.1, np.float32)}
    return replace(reply(status, x_penstock_variant="accurate"), outputs=outputs)


def almost(question: Question) -> Reply:
    """JSON that lost the last bit."""
    found = answer(question)
    if question.form != "json":
        return found
    return replace(found, outputs={"probabilities": np.nextafter(found.outputs["probabilities"], np.float32(1))})


def test_one_answer_in_every_form_passes(setting: Make) -> None:
    """HTTP in three forms, and gRPC."""
    assert "bit for bit" in same_answers(setting(answer, lambda question: answer(question, "OK")))


def test_one_bit_of_difference_is_wrong(setting: Make) -> None:
    """The form that differs is named."""
    with pytest.raises(WrongError, match="'probabilities' by json bit for bit"):
        same_answers(setting(almost, lambda question: answer(question, "OK")))


def test_the_gateways_own_numbers_must_add_up(setting: Make) -> None:
    """Rows by variant are two kinds of four rows here, cost and baseline as computed offline."""
    right = {"penstock_rows_total": 2, "penstock_cost_total": 84, "penstock_cost_baseline_total": 160}
    assert "48% saved" in savings(setting(answer, metrics=right))
    with pytest.raises(WrongError, match=r"penstock_cost_total(?s:.*)84(?s:.*)85"):
        savings(setting(answer, metrics={**right, "penstock_cost_total": 85}))


def test_server_timing_cannot_exceed_the_clients(setting: Make) -> None:
    """Both parts together fit into what the client waited."""
    timed = replace(reply(server_timing="gateway;dur=0.100, backend;dur=0.700"), seconds=0.001)
    assert "1.0 ms, of which the gateway's own 0.10 ms" in timing(setting(lambda _: timed))
    with pytest.raises(WrongError, match="Server-Timing within"):
        timing(setting(lambda _: replace(timed, seconds=0.0005)))
