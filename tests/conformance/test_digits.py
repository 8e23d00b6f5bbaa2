"""The digits cascade on held-out images, end to end: accuracy, rows, cost and every bit as computed without the gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from layout import Layout

from tests.conformance.wire import FORMS, Sent, address
from tests.real_parts import COSTS, GatewayProcess, Triton, accepted

pytestmark = pytest.mark.slow

STAGES = tuple(COSTS)


@dataclass(frozen=True)
class HeldOut:
    """Images that no model was trained on, what they show, and what each stage said of them when it was trained."""

    images: Any
    labels: Any
    stored: Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """What a cascade must answer: outputs as raw bytes, and the stage (0…) that each row's answer is from."""

    probabilities: bytes
    label: bytes
    owners: Any


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    """All 719 of them."""
    stored = np.load(Layout().held_out)
    return HeldOut(stored["images"], stored["labels"], {stage: stored[f"digits_{stage}_1"] for stage in STAGES})


def stages_of(probabilities: Mapping[str, Any]) -> Any:
    """Which stage answers each row, by the rule of a cascade, from every stage's probabilities for every row."""
    first, second = accepted()
    unsure = probabilities["fast"].max(axis=1) < first
    return np.where(unsure, np.where(probabilities["balanced"].max(axis=1) < second, 2, 1), 0)


def images(rows: Any) -> dict[str, Sent]:
    """Rows as the models' input."""
    return {"image": Sent("FP32", rows.shape, rows.tobytes())}


def straight(triton: Triton, form: str, images_: Any) -> Expected:
    """The cascade done by hand, each stage asked of Triton itself about the rows that the one before was unsure of."""
    unsure = np.arange(len(images_))
    owners = np.zeros(len(images_), int)
    probabilities, label = np.zeros((len(images_), 10), "<f4"), np.zeros((len(images_), 1), "<i8")
    for stage, accept in enumerate((*accepted(), 0.0)):
        answer = FORMS[form](address(triton, form), f"digits_{STAGES[stage]}/versions/1", images(images_[unsure]), {})
        probabilities[unsure], label[unsure] = answer.outputs["probabilities"].array(), answer.outputs["label"].array()
        owners[unsure] = stage
        unsure = unsure[probabilities[unsure].max(axis=1) < accept]
        if not len(unsure):
            break
    return Expected(probabilities.tobytes(), label.tobytes(), owners)


def told(owners: Any) -> dict[str, str]:
    """The response headers for rows answered by these stages."""
    counts = [int((owners == stage).sum()) for stage in range(3)]
    asked = max(owners) + 1
    reached = [int((owners >= stage).sum()) for stage in range(asked)]
    answered = [(stage, count) for stage, count in zip(STAGES, counts, strict=True) if count]
    return {
        "x-penstock-route": "default",
        "x-penstock-variant": answered[0][0] if len(answered) == 1 else ",".join(f"{stage}={count}" for stage, count in answered),
        "x-penstock-escalation": "->".join(STAGES[:asked]) if asked > 1 else "none",
        "x-penstock-cost": str(sum(COSTS[stage] * rows for stage, rows in zip(STAGES, reached, strict=False))),
        "x-model-name": ",".join(f"digits_{stage}" for stage, _ in answered),
        "x-model-version": ",".join("1" for _ in answered),
    }


@pytest.mark.parametrize(("size", "form"), [(1, "binary"), *((size, form) for size in (32, 53) for form in sorted(FORMS))])
def test_held_out_accuracy_rows_and_cost(
    gateway: GatewayProcess, triton: Triton, held_out: HeldOut, size: int, form: str
) -> None:
    """Every batch's answer is the cascade done by hand, bit for bit and in order; all of them are what training measured."""
    decided = stages_of(held_out.stored)
    correct, before = 0, {stage: gateway.metric("penstock_rows_total", model="digits", variant=stage) for stage in STAGES}
    for start in range(0, len(held_out.images), size):
        rows = slice(start, start + size)
        expected = straight(triton, form, held_out.images[rows])
        answer = FORMS[form](address(gateway, form), "digits", images(held_out.images[rows]), gateway.credential)
        assert decided[rows].tolist() == expected.owners.tolist()
        assert (expected.probabilities, expected.label) == (answer.outputs["probabilities"].raw, answer.outputs["label"].raw)
        assert told(expected.owners) == {name: answer.headers[name] for name in told(expected.owners)}
        correct += int((answer.outputs["label"].array()[:, 0] == held_out.labels[rows]).sum())
    measured = json.loads(Layout().report.read_text())["cascade"]["held_out"]
    counted = [gateway.metric("penstock_rows_total", model="digits", variant=stage) - before[stage] for stage in STAGES]
    assert measured["rows"] == counted
    assert measured["accuracy"] == correct / len(held_out.labels)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_single_images_of_every_stage(gateway: GatewayProcess, triton: Triton, held_out: HeldOut, form: str) -> None:
    """A row on its own goes up as far as it must, and is answered by exactly one stage."""
    decided = stages_of(held_out.stored)
    asked = [int(row) for stage in range(3) for row in np.flatnonzero(decided == stage)[:20]]
    for row in asked:
        expected = straight(triton, form, held_out.images[row : row + 1])
        answer = FORMS[form](address(gateway, form), "digits", images(held_out.images[row : row + 1]), gateway.credential)
        assert decided[row] == expected.owners[0]
        assert (expected.probabilities, expected.label) == (answer.outputs["probabilities"].raw, answer.outputs["label"].raw)
        assert told(expected.owners) == {name: answer.headers[name] for name in told(expected.owners)}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_sure_rows_are_the_fast_models_own(gateway: GatewayProcess, triton: Triton, held_out: HeldOut, form: str) -> None:
    """A row that stays keeps the bits the fast model gave it among all the rows asked, whatever became of its neighbours."""
    rows = held_out.images[:97]
    direct = FORMS[form](address(triton, form), "digits_fast", images(rows), {}).outputs["probabilities"].array()
    answer = FORMS[form](address(gateway, form), "digits", images(rows), gateway.credential).outputs["probabilities"].array()
    sure = direct.max(axis=1) >= accepted()[0]
    assert 0 < sure.sum() < len(rows)
    assert direct[sure].tobytes() == answer[sure].tobytes()
    assert direct[~sure].tobytes() != answer[~sure].tobytes()


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_token_of_the_tier_gets_the_accurate_model(
    gateway: GatewayProcess, triton: Triton, held_out: HeldOut, form: str
) -> None:
    """The tier in a verified token chooses the route; the model's whole answer comes under the public name."""
    rows = held_out.images[:33]
    direct = FORMS[form](address(triton, form), "digits_accurate/versions/1", images(rows), {})
    answer = FORMS[form](address(gateway, form), "digits", images(rows), gateway.bearer(tier="enterprise"))
    assert direct.outputs == answer.outputs
    expected = {"x-penstock-route": "enterprise", "x-penstock-variant": "accurate", "x-penstock-cost": "1320"}
    assert expected == {name: answer.headers[name] for name in expected}
