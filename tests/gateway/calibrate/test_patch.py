"""Thresholds in a policy document: only what must change does, whatever the way in which the document is written."""

from __future__ import annotations

import difflib
import json
from typing import Any

import pytest
import yaml

from gateway.calibrate.patch import PatchError, Thresholds, Where, cascade, fragment, patched
from gateway.configuration.load import load_policy
from gateway.configuration.yaml_source import parse
from routing.cascade.calibration import Calibration
from tests.gateway.calibrate.answers import POLICY

MAPS = Calibration({"other": ((0.1, 0.2), (0.9, 1.0)), "0": ((0.12345678901234567, 1e-7), (0.9, 0.99999999))})
CUTS = Thresholds(("fast", "accurate"), (0.97,), (MAPS,))
CONFIDENCE = {"output": "probabilities", "metric": "max-softmax"}
DEFAULT = Where("digits", "default", 1)


def made(before: dict[str, Any] | None = None) -> dict[str, Any]:
    return cascade(before, CUTS, CONFIDENCE, "")


def changed(text: str, where: Where = DEFAULT) -> list[str]:
    """The lines that differ, once it is sure that the gateway takes the whole and it says what it should."""
    whole = patched(text.encode(), where, made())
    assert whole.endswith(b"\n")  # else a gateway that reloads it takes it for half a file
    document: Any = parse(whole, "p").value
    assert made() == document["models"][where.model]["routes"][where.index]["cascade"]
    assert load_policy(whole, "p").models[where.model].routes[where.index].cascade
    lines = difflib.ndiff(text.splitlines(), whole.decode().splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_only_the_cascade_changes() -> None:
    """Comments and order of all other lines stay; comments within the cascade go."""
    lines = changed(POLICY)
    assert [line for line in lines if line[0] == "-"] == [
        "-         cascade:                   # everybody else",
        "-           confidence: {output: probabilities, metric: max-softmax}   # of ten classes",
        "-             - {use: fast, accept: 0.9}",
    ]


def test_of_a_route_that_had_none() -> None:
    """The cascade takes the place of `use`, in braces or not."""
    in_lines = POLICY.replace(
        "{name: vip, match: {tier: vip}, use: accurate}", "name: vip\n        match: {tier: vip}\n        use: accurate  # vip"
    )
    assert ["-         use: accurate  # vip"] == [line for line in changed(in_lines, Where("digits", "vip", 0)) if line[0] == "-"]
    in_braces = changed(POLICY, Where("digits", "vip", 0))
    assert ["-       - {name: vip, match: {tier: vip}, use: accurate}"] == [line for line in in_braces if line[0] == "-"]


@pytest.mark.parametrize("flow", [True, False])
def test_a_document_as_a_program_writes_it(flow: bool) -> None:
    """All of it in braces, or all in lines."""
    changed(yaml.safe_dump(yaml.safe_load(POLICY), default_flow_style=flow, sort_keys=False))


def test_a_document_without_a_last_line_end() -> None:
    """JSON, for instance."""
    changed(json.dumps(yaml.safe_load(POLICY)))


def test_line_ends_of_another_system() -> None:
    """And a mark of byte order: the document is still taken."""
    whole = patched(b"\xef\xbb\xbf" + POLICY.replace("\n", "\r\n").encode(), DEFAULT, made())
    assert load_policy(whole, "p").models["digits"].routes[1].cascade


def test_what_else_a_cascade_says_stays() -> None:
    """Its budget, its logits; thresholds and maps from before go, other keys of a stage stay."""
    before = {
        "confidence": {**CONFIDENCE, "logits": True, "calibration": {"maps": {}}},
        "speculate": "60%",
        "stages": [
            {"use": "fast", "accept": 0.1, "calibration": {}, "kept": 1},
            {"use": "gone", "accept": 1},
            {"use": "accurate"},
        ],
    }
    found = cascade(before, CUTS, before["confidence"], "label")  # type: ignore[arg-type]
    assert {**CONFIDENCE, "logits": True} == found["confidence"]
    assert "60%" == found["speculate"]
    first, last = found["stages"]
    assert {"use": "accurate"} == last
    assert ("fast", 0.97, 1, "label") == (first["use"], first["accept"], first["kept"], first["calibration"]["label"])


def test_the_fragment_says_where_it_belongs() -> None:
    """With all digits of its numbers, since the last one may decide about a row."""
    text = fragment(DEFAULT, made(), ["why"])
    assert text.startswith("# why\n")
    document: Any = parse(text.encode(), "p").value
    (route,) = document["models"]["digits"]["routes"]
    assert "default" == route["name"]
    maps = route["cascade"]["stages"][0]["calibration"]["maps"]
    assert {name: [list(knot) for knot in knots] for name, knots in MAPS.maps.items()} == maps


def test_what_cannot_be_patched() -> None:
    """A split has no place for thresholds; maps beyond what a policy may hold are refused before anybody tries them."""
    split = POLICY.replace("tier: vip}, use: accurate}", "tier: vip}, split: {fast: 1, accurate: 1}}").replace("tests:", "x:")
    with pytest.raises(PatchError, match="route 'vip' splits its requests"):
        patched(split.encode(), Where("digits", "vip", 0), made())
    many = Calibration({"other": tuple((place / 1e6, place / 1e6) for place in range(20_000))})
    with pytest.raises(PatchError, match="more than 50,000 values"):
        patched(POLICY.encode(), DEFAULT, cascade(None, Thresholds(("fast", "accurate"), (0.9,), (many,)), CONFIDENCE, ""))
