"""Scenes about routing end at the first answer that is not what the policy says."""

from __future__ import annotations

from collections.abc import Callable

import jwt
import pytest

from gateway.demo.client import Question, Reply
from gateway.demo.expect import WrongError
from gateway.demo.scenes_routing import TENANTS, answered, by_tier, sticky_split
from gateway.demo.setting import Setting
from tests.gateway.demo.stage import reply

Make = Callable[..., Setting]


def tenant(question: Question) -> int:
    """The number of the tenant whose token the question carries."""
    token = question.headers["authorization"].removeprefix("Bearer ")
    return TENANTS.index(jwt.decode(token, options={"verify_signature": False})["tenant"])


def by_key(question: Question) -> Reply:
    """As the policy says: the enterprise key gets the accurate model."""
    if question.headers["x-api-key"] == "pk_enterprise_0":
        return reply(x_penstock_route="enterprise", x_penstock_variant="accurate")
    return reply(x_penstock_route="default", x_penstock_variant="fast")


def side(question: Question) -> Reply:
    """Every second tenant on each side."""
    return reply(x_penstock_variant=("fast", "accurate")[tenant(question) % 2])


def test_a_failed_question_shows_its_error(setting: Make) -> None:
    """With its status."""
    made = setting(lambda _: Reply(503, {}, {}, "no endpoint", 0.1))
    with pytest.raises(WrongError, match=r"no endpoint\)(?s:.*)expected 200(?s:.*)seen +503"):
        answered(made, made.digits(slice(0, 1)))


def test_tiers_that_are_told_apart_pass(setting: Make) -> None:
    """Both routes must have been taken."""
    assert "enterprise → accurate" in by_tier(setting(by_key))
    with pytest.raises(WrongError, match="enterprise key"):
        by_tier(setting(lambda _: reply(x_penstock_route="default", x_penstock_variant="fast")))


def test_tenants_that_stay_on_their_side_pass(setting: Make) -> None:
    """Over both transports, and about as many as the weights say."""
    assert "50 always get fast, 50 always get accurate (weights 50/50)" in sticky_split(setting(side))


def test_a_tenant_that_moves_is_wrong(setting: Make) -> None:
    """gRPC must agree with HTTP."""
    with pytest.raises(WrongError, match="variants that answered tenant-000"):
        sticky_split(setting(side, lambda question: reply(x_penstock_variant="accurate")))


def test_a_split_that_is_not_one_is_wrong(setting: Make) -> None:
    """Everybody on one side is no half and half."""
    with pytest.raises(WrongError, match=r"50% ± 20% of the tenants at fast:\n +seen +100%"):
        sticky_split(setting(lambda _: reply(x_penstock_variant="fast")))
