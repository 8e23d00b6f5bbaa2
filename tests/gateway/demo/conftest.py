"""A setting without Triton: a small policy, digits nobody drew, and clients that answer what a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import pytest

from gateway.demo.client import Tally
from gateway.demo.credentials import Issuer
from gateway.demo.heldout import HeldOut
from gateway.demo.policy import Policy
from gateway.demo.processes import Credentials
from gateway.demo.setting import Setting
from tests.gateway.demo.stage import Answers, FakeClient, FakeGateway, certain, document


@pytest.fixture
def held_out() -> HeldOut:
    """Four digits; the fast model is sure of two, and wrong about one of those."""
    probabilities = {"m_fast_1": certain([1, 2, 9, 0], [0.95, 0.5, 0.92, 0.6]), "m_accurate_1": certain([1, 2, 3, 4], [0.99] * 4)}
    return HeldOut(np.zeros((4, 64), np.float32), np.array([1, 2, 3, 4]), probabilities)


@pytest.fixture
def setting(held_out: HeldOut) -> Callable[..., Setting]:
    """Makes a setting of fakes: HTTP answers, gRPC answers (the same unless told), metrics."""

    def make(http: Answers, grpc: Answers | None = None, metrics: Mapping[str, float] = {}) -> Setting:
        credentials = Credentials({"x-api-key": "pk_free_0"}, {"x-api-key": "pk_enterprise_0"}, Issuer())
        gateway = cast(Any, FakeGateway(dict(metrics)))
        clients = cast(Any, FakeClient(http)), cast(Any, FakeClient(grpc or http))
        return Setting(gateway, None, Policy(document()), held_out, credentials, Tally(), *clients)

    return make
