"""A patch is tried before it is shown; with it the gateway keeps the very rows that were certified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.tensors import Tensor
from gateway.calibrate.patch import PatchError
from gateway.calibrate.report import Chosen, Report, report
from gateway.calibrate.rows import Rows, gather
from gateway.calibrate.stages import Stages, of_policy
from gateway.calibrate.written import Wish, Written, written
from gateway.configuration.integrity import Ends, ends, sealed
from gateway.configuration.load import load_policy
from gateway.configuration.tables import route_tables
from routing.cascade.certify import Certified, Promise, calibrate
from routing.cascade.confidence import sure
from routing.match import Cascade
from tests.gateway.calibrate.answers import POLICY, rows, write

STAGES = Stages({"fast": 1.0, "accurate": 40.0}, {"fast": "fast", "accurate": "accurate"})
NOTHING = Wish(None, "max-softmax", None, False)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Certified]:
    """1 500 rows, and what was certified on them."""
    found = gather([write(tmp_path_factory.mktemp("rows") / "r.csv", rows())], STAGES.columns)
    return found, calibrate(found.at([1, 40]), Promise(0.97))


def told(judged: tuple[Rows, Certified]) -> Report:
    return report(judged[1], judged[0], STAGES, Chosen(("r.csv",), 0, None))


def made(judged: tuple[Rows, Certified], policy: str = POLICY, wish: Wish = NOTHING, route: str = "default") -> Written | None:
    return written(of_policy(policy.encode(), "p", "digits", route), told(judged), judged[1], wish)


def test_the_gateway_keeps_the_rows_that_were_certified(judged: tuple[Rows, Certified]) -> None:
    """From the patched document, through the gateway's own reading of it, to each row: exactly those that reach the cut."""
    found = made(judged)
    assert found is not None
    assert judged[1].chosen is not None
    route = route_tables(load_policy(found.policy, "p"))["digits"].routes[1]
    assert isinstance(route.action, Cascade)
    stage = route.action.stages[0]
    score, label = judged[0].score[:, 0], judged[0].label[:, 0]
    probabilities = np.zeros((len(score), 3))
    probabilities[np.arange(len(score)), label.astype(int)] = score
    answer = {"probabilities": Tensor("probabilities", "FP64", probabilities.shape, probabilities.tobytes())}
    expected = judged[1].calibrations[0].apply(score, label.tolist()) >= (judged[1].chosen.cuts[0] or 0)
    known = score > 0  # else the largest of such a row is not at its label
    kept = sure(route.action.confidence, stage, answer, len(score)) >= (stage.accept or 0)
    assert 0 < expected.sum() < len(score)
    assert expected[known].tolist() == kept[known].tolist()


def test_a_stage_that_is_worth_nothing(tmp_path: Path) -> None:
    """Is left out of the patch: who goes through it pays for nothing."""
    three = Stages({"fast": 1.0, "balanced": 6.0, "accurate": 40.0}, {name: name for name in ("fast", "balanced", "accurate")})
    found = gather([write(tmp_path / "r.csv", rows())], three.columns)
    judged = calibrate(found.at([1, 6, 40]), Promise(0.97))
    assert judged.chosen is not None
    without = replace(judged, chosen=replace(judged.chosen, cuts=(None, 0.75)))
    said = report(without, found, three, Chosen(("r.csv",), 0, None))
    assert any("fast is worth nothing" in note for note in said.notes)
    whole = written(of_policy(POLICY.encode(), "p", "digits", "default"), said, without, NOTHING)
    assert whole is not None
    cascade: Any = load_policy(whole.policy, "p").models["digits"].routes[1].cascade
    assert [("balanced", 0.75), ("accurate", None)] == [(stage.use, stage.accept) for stage in cascade.stages]


def test_a_route_without_a_cascade(judged: tuple[Rows, Certified]) -> None:
    """Needs to be told which output says how sure an answer is; where nobody needs a patch there is none."""
    assert made(judged, route="vip") is None
    with pytest.raises(PatchError, match="which output tells how sure an answer is"):
        made(judged, route="vip", wish=Wish(None, "max-softmax", None, True))
    found = made(judged, POLICY.partition("tests:")[0] + "...\n", Wish("probabilities", "margin", "label", True), "vip")
    assert found is not None
    route: Any = load_policy(found.policy, "p").models["digits"].routes[0].cascade
    assert ("margin", "label") == (route.confidence.metric, route.stages[0].calibration.label)


def test_logits(judged: tuple[Rows, Certified]) -> None:
    """Their softmax is what the metric is of; only metrics of classes are."""
    wish = Wish("scores", "max-softmax", None, True, logits=True)
    found = made(judged, POLICY.partition("tests:")[0] + "...\n", wish, "vip")
    assert found is not None
    route: Any = load_policy(found.policy, "p").models["digits"].routes[0].cascade
    assert ("scores", True) == (route.confidence.output, route.confidence.logits)
    with pytest.raises(PatchError, match="output:sure is of no logits: --logits goes with entropy, margin, max-softmax"):
        made(judged, route="vip", wish=Wish(None, "output:sure", None, True, logits=True))


def test_a_policy_whose_own_tests_then_fail(judged: tuple[Rows, Certified]) -> None:
    """Is told with what fails: they know of another route, and must be mended, too."""
    found = made(judged, route="vip", wish=Wish("probabilities", "max-softmax", None, True))
    assert found is not None
    (problem,) = found.problems
    assert "test 'vips ask the dearest' fails" in problem


def test_a_sealed_policy(judged: tuple[Rows, Certified]) -> None:
    """Is sealed anew."""
    found = made(judged, sealed(POLICY.encode(), "p").decode())
    assert found is not None
    assert (Ends.SEALED, ()) == (ends(found.policy, "p"), found.problems)


def test_labels_that_nothing_tells(tmp_path: Path) -> None:
    """Words are no places of classes, and some metrics have no classes: the output must be named."""
    words = [
        {**row, **{name: f"class {row[name]}" for name in row if name.endswith("label") or name == "truth"}} for row in rows()
    ]
    found = gather([write(tmp_path / "r.csv", words)], STAGES.columns)
    judged = (found, calibrate(found.at([1, 40]), Promise(0.97)))
    with pytest.raises(PatchError, match="the label 'class 0' is not the place of a class"):
        made(judged)
    assert made(judged, wish=Wish(None, "max-softmax", "label", False)) is not None
    with pytest.raises(PatchError, match=r"output:sure tells no label.*--label-output"):
        made(judged, POLICY.replace("{output: probabilities, metric: max-softmax}", "{metric: 'output:sure'}"))
