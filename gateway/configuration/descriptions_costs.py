"""What every key about money is for, in a sentence; beside the others' (descriptions.py)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.configuration import schema_costs as costs

Struct = type[msgspec.Struct]

DESCRIPTIONS: Mapping[Struct, Mapping[str, str]] = {
    costs.Cost: {
        "row": "Of one row.",
        "call": "Of an ask, however many rows it has.",
        "gpu_ms": "Of a millisecond that an ask is at the backend, as the gateway measures it: with network and queue.",
        "token": "Of one token.",
        "tokens": "The output whose numbers, added up, are the tokens of an answer.",
        "most_ms": "No more milliseconds of an ask are paid for, and reserved by a budget; else as many as it has time.",
        "most_tokens": "No more tokens of a row are paid for. Where a budget pays for tokens it reserves so many before it asks.",
    },
    costs.EscalationBudget: {
        "share": "Of the rows that the first stage is asked about; in each process. Beyond it rows keep the answer they have.",
    },
}

EXAMPLES: Mapping[Struct, str] = {
    costs.Cost: """
{call: 2, row: 1, gpu_ms: 0.05, most_ms: 200, token: 0.001, tokens: usage, most_tokens: 512}
""",
}
