"""What counts as the same answer, and whose questions are left alone, in words: of shadows and audits."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.configuration.schema_shadows import Compare, Except


def spared(whose: Except | None) -> str:
    """Whose questions are left alone."""
    who = whose or Except()
    said = [*(f"tenant {name}" for name in who.tenant), *(f"tier {name}" for name in who.tier)]
    return ", ".join(said) or "nobody spared"


def rules(compare: Mapping[str, Compare]) -> str:
    """What still is the same, by output."""
    return ", ".join(f"{name} {_rule(rule)}" for name, rule in compare.items()) or "each datatype's own tolerance"


def _rule(rule: Compare) -> str:
    said = {name: getattr(rule, name) for name in Compare.__struct_fields__}
    written = {name: value for name, value in said.items() if value not in (None, False)}
    if rule.json is not None:
        return f"({', '.join(f'{at} {_rule(each)}' for at, each in rule.json.items())})"
    return " ".join(name if value is True else f"{name} {value:g}" for name, value in written.items())
