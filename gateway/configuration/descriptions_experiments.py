"""What every key of an A/B test is for, in a sentence; beside the others' (descriptions.py)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.configuration import schema_experiments as experiments
from gateway.configuration import schema_policy as policy

Struct = type[msgspec.Struct]

DESCRIPTIONS: Mapping[Struct, Mapping[str, str]] = {
    policy.Holdout: {
        "share": "Of the units; they get what is stable, everywhere.",
        "unit": "Who is held out as a whole, whatever the unit of a rollout: a tenant, a subject, a header's value, a request.",
    },
    experiments.Group: {
        "name": "A name of your own; rollouts of one group, of any model, never share a unit.",
        "from": "Where its part of the group's units begins.",
        "to": "Where it ends; a weight is a share of this part.",
    },
    experiments.Feedback: {
        "metric": "What clients call it; as the guard thumbs-down it takes a candidate back, too.",
        "of": "all: of whom nothing is told counts as 0, as with purchases; told: such do not count, as with ratings.",
        "low": "The smallest number that can be told; with `high`. Without both it is true or false.",
        "high": "The largest.",
        "labels": "What may be told in words, and the number that each stands for.",
    },
}
EXAMPLES: Mapping[Struct, str] = {
    policy.Holdout: """
share: 5%
unit: tenant
""",
    experiments.Feedback: """
metric: rating
of: told
low: 1
high: 5
""",
    experiments.Group: """
name: checkout
from: 0%
to: 40%
""",
}
