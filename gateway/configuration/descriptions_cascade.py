"""What every key of a cascade is for, in a sentence; part of gateway/configuration/descriptions.py's."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.configuration import descriptions_audit
from gateway.configuration import schema_cascade as cascade

DESCRIPTIONS: Mapping[type[msgspec.Struct], Mapping[str, str]] = {
    **descriptions_audit.DESCRIPTIONS,
    cascade.Cascade: {
        "confidence": "How sure an answer is, row by row.",
        "stages": "Variants from cheap to dear, at least two.",
        "speculate": "Where both stages would not be done in time one after the other, ask the next at once, if so large a share"
        " of the rows is expected to need it.",
        "budget": "How many of its rows may go up; the others keep the answer they have, and X-Penstock-Escalation says so.",
        "audit": "Whether what it keeps is what the last stage would have answered: a share of the kept rows is asked there"
        " as well.",
    },
    cascade.Confidence: {
        "metric": "How the output's values become a confidence; `output:<name>` and `json:<path>` take the value itself.",
        "output": "Which output has the probabilities, the log-probabilities of tokens, or the JSON documents.",
        "logits": "It has logits, of which the softmax are the probabilities.",
        "path": "It has JSON documents, and in each the tokens' log-probabilities stand here.",
        "calibration": "What scores are worth; `accept` is then held against that.",
    },
    cascade.Calibration: {
        "maps": "By label knots `[raw score, chance of being right]`, linear between; `other` for labels without a map.",
        "label": "The output that tells the predicted label. Without it, the place of the largest value.",
    },
    cascade.Stage: {
        "use": "The variant that is asked.",
        "accept": "Rows at least so sure keep this answer. The last stage has none: it takes whatever comes.",
        "calibration": "This stage's own, in place of the confidence's.",
    },
}

EXAMPLES: Mapping[type[msgspec.Struct], str] = {
    **descriptions_audit.EXAMPLES,
    cascade.Cascade: """
confidence: {output: probabilities, metric: margin}
stages:
  - {use: fast, accept: 0.7}
  - {use: accurate}
""",
    cascade.Calibration: """
maps:
  "0": [[0.31, 0.62], [0.98, 0.998]]
  other: [[0.4, 0.55], [0.99, 0.99]]
""",
}
