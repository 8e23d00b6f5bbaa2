"""A scene about thresholds that keep a promise: `penstock calibrate` on labelled digits, its policy in force, every row asked."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from gateway.cli import main
from gateway.demo.expect import true, until
from gateway.demo.heldout import Rows
from gateway.demo.policy import MODEL
from gateway.demo.scenes_routing import answered
from gateway.demo.setting import Setting

KEEP = "98%"
BATCH = 48  # rows of one question; more would take the route of large batches
CLOSE = 1e-4  # so near to its threshold a score may be decided either way: a batch's size changes a probability's last bits


def calibrated(setting: Setting) -> str:
    """Calibrates on the held-out digits, puts the result in force, and asks every digit; then all is as before."""
    gateway, folder = setting.gateway, setting.gateway.policy.parent
    rows, patched = folder / "digits.csv", folder / "calibrated.yaml"
    write(setting, rows)
    report = _report([str(rows), "--policy", str(gateway.policy), "--model", MODEL, "--keep", KEEP, "--patched", str(patched)])
    if report["certified"] is None:
        return f"{report['rows']} labelled digits are too few to promise {KEEP} of the dearest model's quality: {report['why']}"
    before = _version(setting)
    gateway.policy.write_bytes(patched.read_bytes())
    gateway.reload()
    until("the calibrated policy in force", lambda: _version(setting) != before)
    count = len(setting.held_out.labels)
    replies = [answered(setting, setting.digits(slice(at, min(at + BATCH, count)))) for at in range(0, count, BATCH)]
    setting.policy.write(gateway.policy)
    gateway.reload()
    until("the policy from before in force", lambda: _version(setting) == before)
    shares: Counter[str] = Counter()
    for reply in replies:
        shares.update({variant: int(share) for variant, share in _shares(reply.variant, len(reply.labels)).items()})
    stages, unsure = keepers(report, setting)
    for place, stage in enumerate(report["stages"]):
        expected = int((stages == place).sum())
        off = abs(shares[stage["stage"]] - expected)
        true(f"{expected} rows answered by {stage['stage']}, or {unsure} more or less", off <= unsure, shares)
    accuracy = setting.held_out.accuracy(np.concatenate([reply.labels for reply in replies]))
    saved = 1 - sum(reply.cost for reply in replies) / (count * setting.policy.cost(report["stages"][-1]["stage"]))
    cuts = ", ".join(f"{stage['stage']} {stage['accept']:.3f}" for stage in report["stages"] if stage["accept"] is not None)
    promise = f"keep {KEEP} of {report['stages'][-1]['stage']}'s quality with 95% confidence"
    return f"{report['rows']} labelled digits: {cuts} {promise}; in force, {accuracy:.1%} are right and {saved:.0%} is saved"


def write(setting: Setting, file: Path) -> None:
    """What each stage says of each digit, beside the truth."""
    variants = [variant for variant, _ in setting.policy.stages()]
    told = {variant: setting.offline(variant) for variant in variants}
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["truth", *(f"{variant}_{what}" for variant in variants for what in ("label", "confidence"))])
        for row, truth in enumerate(setting.held_out.labels.tolist()):
            cells = [(each[row].argmax(), repr(float(each[row].max()))) for each in told.values()]
            writer.writerow([truth, *(cell for pair in cells for cell in pair)])


def keepers(report: Any, setting: Setting) -> tuple[Rows, int]:
    """By the report's maps and thresholds the place of the stage that keeps each row, and how many rows are too near to say."""
    last = len(report["stages"]) - 1
    kept_by = np.full(len(setting.held_out.labels), last)
    near = np.zeros(len(kept_by), dtype=bool)
    for place in reversed(range(last)):
        stage = report["stages"][place]
        if stage["accept"] is None:
            continue
        maps, told = report["maps"][stage["stage"]], setting.offline(stage["stage"]).astype(np.float64)
        knots = [np.array(maps.get(str(label), maps["other"])).T for label in told.argmax(axis=1)]
        scores = np.array([np.interp(raw, *each) for raw, each in zip(told.max(axis=1), knots, strict=True)])
        kept_by[scores >= stage["accept"]] = place
        near |= np.abs(scores - stage["accept"]) < CLOSE
    return kept_by, int(near.sum())


def _report(words: list[str]) -> Any:
    said, wrong = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(wrong):
        status = main(["calibrate", "--json", *words])
    true("exit status 0 or 1 of penstock calibrate", status in (0, 1), f"{status}: {wrong.getvalue()}")
    return json.loads(said.getvalue())


def _version(setting: Setting) -> str:
    return answered(setting, setting.digits(slice(0, 1))).headers["x-penstock-policy"]


def _shares(said: str, rows: int) -> dict[str, str]:
    """`fast=29,accurate=3`, or one name for all."""
    return dict(part.split("=") for part in said.split(",")) if "=" in said else {said: str(rows)}
