"""The mutants' patches: each applies to the product as it is."""

from __future__ import annotations

import pytest

from scripts.chaos.mutants import Mutant, all_mutants
from tests.support.needs import missing
from tests.support.paths import ROOT


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_mutant_applies_to_the_product_as_it_is(mutant: Mutant) -> None:
    if not (ROOT / ".git").exists():
        missing("no checkout")
    assert not mutant.applies(), "make the patch again, on the code as it is now"


def test_mutants_are_ten_at_least_and_name_a_fault() -> None:
    mutants = all_mutants()
    assert len(mutants) >= 10
    assert all("--only" in mutant.arguments for mutant in mutants)
