"""What every key of a cascade's audit is for, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.configuration import schema_audit as audit

DESCRIPTIONS: Mapping[type[msgspec.Struct], Mapping[str, str]] = {
    audit.Audit: {
        "share": "The share of the kept rows that the last stage is asked about as well, beside the answer.",
        "promise": "At least this share of the kept rows is answered as the last stage would; proof that it is not is the alarm.",
        "on_alarm": "report: metrics, log and API tell of it; dear: also, the last stage answers alone, until other thresholds"
        " or a person end it.",
        "label": "The output that must be the same; else the calibration's label, or the place of the largest probability.",
        "compare": "Instead of label: by output, what still is the same; outputs that are not named do not count.",
        "timeout": "How long the last stage may take for an audit; as long as the route's answer unless said.",
        "max_in_flight": "Audited requests asked at once, in each process; others wait.",
        "queue": "Audited requests that may wait, in each process; more are not audited.",
        "budget": "Cost that audits may cause, in each process: 100/h.",
        "except": "Whose rows are never audited.",
    },
}

EXAMPLES: Mapping[type[msgspec.Struct], str] = {
    audit.Audit: """
share: 1%
promise: 99%
label: label
on_alarm: dear
""",
}
