"""Scenes about a policy before it serves end where the gateway does something else, or where a rule has no test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.demo.expect import WrongError
from gateway.demo.policy import Policy, read
from gateway.demo.scenes_policy import explained, noticed
from gateway.demo.setting import Setting
from tests.gateway.demo.stage import POLICY, reply

Make = Callable[..., Setting]


def test_an_answer_that_was_not_foretold_is_wrong(setting: Make) -> None:
    """A gateway that sends everybody along the default route is found out by the enterprise key."""
    made = replace(setting(lambda _: reply(x_penstock_route="default", x_penstock_variant="fast")), policy=read(POLICY))
    with pytest.raises(WrongError, match="tier='enterprise'"):
        explained(made)


def test_a_rule_without_a_test_is_wrong(setting: Make) -> None:
    """The shipped policy has one for each."""
    shipped = read(POLICY)
    made = replace(setting(lambda _: reply()), policy=shipped)
    assert "15 tests in the policy itself" in noticed(made)
    kept = [test for test in shipped.document["tests"] if test["expect"].get("route") != "bulk"]
    with pytest.raises(WrongError, match="no test notices"):
        noticed(replace(made, policy=Policy({**shipped.document, "tests": kept})))
