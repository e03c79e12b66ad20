"""The tables in the documents are what the source has."""

from __future__ import annotations

import pytest

from scripts import call_examples
from scripts.tables import DOCS, TABLES, updated


def test_pages_have_the_tables_as_they_are() -> None:
    for name, table in TABLES:
        page = (DOCS / name).read_text()
        assert updated(page, table()) == page, f"{name}: run `python -m scripts.tables`"


def test_table_that_the_page_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="no table with this head"):
        updated("# A page\n", "| a |\n|---|\n| 1 |")


def test_updated_page_keeps_what_stands_around_the_table() -> None:
    page = "before\n\n| a |\n|---|\n| 1 |\n| 2 |\n\nafter\n"
    assert updated(page, "| a |\n|---|\n| 3 |") == "before\n\n| a |\n|---|\n| 3 |\n\nafter\n"


def test_page_of_the_calls_is_what_the_openapi_document_has() -> None:
    page = (DOCS / "calls.md").read_text()
    assert call_examples.page() == page, "run `python -m scripts.tables`"
