"""Judges a model's cache: would the same question have the same answer, whoever asks and beside whatever it is asked?"""

from __future__ import annotations

from gateway.configuration import schema_policy as policy
from gateway.configuration.decode import Findings
from gateway.configuration.problems import Path, listed, shown


def check_cache(found: Findings, path: Path, model: policy.Model) -> None:
    """Notes in `found` a cache on variants that say of themselves that they have none of its preconditions."""
    cache = model.cache
    if cache is None:
        return
    chance = [shown(name) for name, variant in model.variants.items() if not variant.deterministic]
    if chance and not cache.force:
        found.wrong(
            (*path, "cache"),
            f"{listed(chance)} may answer the same question otherwise each time (deterministic: false), and a cache would give"
            " everybody its first answer; force: true says that this is meant",
        )
    beside = [shown(name) for name, variant in model.variants.items() if not variant.row_independent]
    if cache.rows and beside:
        found.wrong(
            (*path, "cache", "rows"),
            f"what {listed(beside)} answers to a row depends on the rows beside it (row_independent: false), so that no row"
            " can be kept on its own",
        )
