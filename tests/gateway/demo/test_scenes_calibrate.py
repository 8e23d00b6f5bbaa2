"""The scene about calibrated thresholds ends where the gateway does not keep the rows that were certified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from backends.tensors import Tensor
from gateway.configuration.load import load_policy, version
from gateway.configuration.tables import route_tables
from gateway.demo.client import Question, Reply
from gateway.demo.expect import WrongError
from gateway.demo.heldout import HeldOut
from gateway.demo.policy import read
from gateway.demo.scenes_calibrate import calibrated
from gateway.demo.setting import Setting
from routing.cascade.confidence import sure
from routing.match import Cascade
from tests.gateway.calibrate.answers import rows
from tests.gateway.demo.stage import POLICY

Make = Callable[..., Setting]
NAMES = {"fast": "digits_fast_1", "balanced": "digits_balanced_1", "accurate": "digits_accurate_1"}


def digits(count: int) -> HeldOut:
    """Whose image's first pixel is which one it is."""
    made, probabilities = rows(count), {}
    for variant, model in NAMES.items():
        found = np.zeros((count, 10), np.float32)
        for row, each in enumerate(made):
            found[row, each[f"{variant}_label"]] = 0.5 + each[f"{variant}_confidence"] / 2
        probabilities[model] = found
    images = np.zeros((count, 64), np.float32)
    images[:, 0] = np.arange(count)
    return HeldOut(images, np.array([each["truth"] for each in made]), probabilities)


@dataclass
class Routes:
    """A gateway that does what its policy file says of the cascade, or what it said at first."""

    policy: Path
    held_out: HeldOut
    deaf: bool = False

    def __post_init__(self) -> None:
        self.text = self.policy.read_bytes()
        self.seen = self.text

    def reload(self) -> None:
        self.seen = self.policy.read_bytes()
        self.text = self.text if self.deaf else self.seen

    def answer(self, question: Question) -> Reply:
        """By the stages' own answers, row by row."""
        route = next(each for each in route_tables(load_policy(self.text, "p"))["digits"].routes if each.name == "default")
        assert isinstance(route.action, Cascade)
        asked = question.inputs["image"][:, 0].astype(int)
        owner, cost = np.full(len(asked), 2), 0.0
        for place, stage in reversed(list(enumerate(route.action.stages))):
            values = self.held_out.probabilities[NAMES[stage.target.variant]][asked]
            output = {"probabilities": Tensor("probabilities", "FP32", values.shape, values.tobytes())}
            if stage.accept is not None:
                owner[sure(route.action.confidence, stage, output, len(asked)) >= stage.accept] = place
        names = [stage.target.variant for stage in route.action.stages]
        for place, stage in enumerate(route.action.stages):
            cost += float((owner >= place).sum()) * stage.target.cost
        answers = [self.held_out.probabilities[NAMES[names[at]]][row].argmax() for at, row in zip(owner, asked, strict=True)]
        shares = ",".join(f"{name}={(owner == place).sum()}" for place, name in enumerate(names) if (owner == place).any())
        headers = {"x-penstock-policy": version(self.seen), "x-penstock-variant": shares, "x-penstock-cost": f"{cost}"}
        return Reply(200, headers, {"label": np.array(answers)}, "", 0.001)


@pytest.fixture
def stage(setting: Make, tmp_path: Path) -> Callable[..., Setting]:
    """With the shipped policy and so many digits."""

    def make(count: int = 900, deaf: bool = False) -> Setting:
        shipped, held_out = read(POLICY), digits(count)
        shipped.write(tmp_path / "policy.yaml")
        gateway = Routes(tmp_path / "policy.yaml", held_out, deaf)
        made = setting(gateway.answer)
        return replace(made, gateway=cast(Any, gateway), policy=shipped, held_out=held_out)

    return make


def test_certified_and_kept(stage: Make) -> None:
    """What was promised is told with what it saves; the policy is then as it was."""
    made = stage()
    before = made.gateway.policy.read_bytes()
    assert "900 labelled digits: fast 0." in calibrated(made)
    assert before == made.gateway.policy.read_bytes()


def test_too_few_digits(stage: Make) -> None:
    """Is an answer, too."""
    assert "are too few to promise" in calibrated(stage(100))


def test_a_gateway_that_keeps_others_is_wrong(stage: Make) -> None:
    """It says that the policy is in force, and goes by the thresholds from before."""
    with pytest.raises(WrongError, match="rows answered by"):
        calibrated(stage(deaf=True))
