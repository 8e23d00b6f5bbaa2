"""The examples in config/examples are policies somebody may start from: whole, without a remark, each rule held by a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.compile import blueprint
from gateway.configuration.load import load_policy
from gateway.review.mutate import examine
from gateway.review.report import report
from tests.docs.pages import DOCS, ROOT

RECIPES = tuple(sorted((ROOT / "config" / "examples").glob("*.yaml")))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_taken_without_a_remark(recipe: Path) -> None:
    """The check has neither a mistake nor a note for it."""
    found = report(recipe.read_bytes(), recipe.name)
    assert [] == [*found.problems, *found.notes]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_rule_of_a_recipe_is_tested(recipe: Path) -> None:
    """Whichever route is made wrong, one of the recipe's own tests fails."""
    text = recipe.read_bytes()
    rules = list(examine(load_policy(text, recipe.name), blueprint(text, recipe.name).tables))
    assert [] == [survivor for rule in rules for survivor in rule.survivors]
    assert rules


def test_the_page_names_every_recipe() -> None:
    """A recipe that is not in the table is one that nobody finds."""
    page = (DOCS / "recipes.md").read_text()
    assert {path.name for path in RECIPES} == {path.name for path in RECIPES if f"(../config/examples/{path.name})" in page}
