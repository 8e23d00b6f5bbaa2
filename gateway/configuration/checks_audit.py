"""Judges the audit of a cascade: can it prove anything, is there something to compare, may the last stage be asked?"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.configuration import schema_policy as policy
from gateway.configuration.checks_shadows import check_rule
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, shown
from gateway.configuration.schema_audit import Audit
from gateway.configuration.schema_cascade import Cascade
from gateway.configuration.tables_audit import label_of, largest_decides

LEAST, MOST = 0.5, 0.9999  # promises that can be judged


def check_audit(found: Findings, path: Path, cascade: Cascade, variants: Mapping[str, policy.Variant], declared: Path) -> None:
    """Notes in `found` what makes no sense. `path` is the cascade's, `declared` the variants'."""
    audit, here = cascade.audit, (*path, "audit")
    if audit is None:
        return
    if not audit.share:
        found.wrong((*here, "share"), "audits nothing: 0 % of the kept rows", "1%")
    if not LEAST <= audit.promise <= MOST:
        why = "no number of audited rows can prove that" if audit.promise > MOST else "that is no promise"
        found.wrong((*here, "promise"), f"{100 * audit.promise:g}%: {why}; it lies between 50% and 99.99%", "99%")
    _check_compared(found, here, audit, cascade)
    last = cascade.stages[-1].use
    dear = variants.get(last)
    if dear is not None and not dear.pure and (*declared, last) not in found.spoiled:
        found.wrong(
            here,
            f"{shown(last)} would be asked about rows that nobody asked it about, which is harmless only where asking changes"
            " nothing; where that is so, write pure: true at the variant",
        )


def _check_compared(found: Findings, here: Path, audit: Audit, cascade: Cascade) -> None:
    if audit.label is not None and audit.compare:
        found.wrong((*here, "label"), "would never be looked at beside compare; leave one of them out")
    for output, rule in audit.compare.items():
        check_rule(found, (*here, "compare", output), rule)
        if rule.ignore:
            found.wrong((*here, "compare", output), "only outputs that are named here count: leave it out instead")
    if not audit.compare and not label_of(cascade) and not largest_decides(cascade):
        metric = cascade.confidence.metric
        found.wrong(here, f"'label' is missing: {metric} does not tell what is answered; which output must be the same?")
