"""The table of headers: which row a name has, and that the documents show it."""

from __future__ import annotations

import re

import pytest

from babygun.mime.header_table import HEADERS, PREFIXES, header_of
from tests.support.paths import ROOT

DOCUMENTED = (ROOT / "docs/api.md").read_text("utf-8").partition("### Headers\n")[2]
# A kind, and the first word of its row in the documents.
IN_THE_DOCUMENTS = {"id": "ids", "date": "dates"}
KINDS = {
    name: IN_THE_DOCUMENTS.get(header.kind, header.kind)
    for name, header in HEADERS.items()
    if not header.refused
}


def _names(text: str) -> set[str]:
    """The names that a text shows as code, in lower case."""
    return {name.lower() for name in re.findall(r"`([^`]+)`", text)}


@pytest.mark.parametrize("kind", sorted(set(KINDS.values())))
def test_documents_list_the_headers_of_each_kind(kind: str) -> None:
    [row] = re.findall(rf"^\| {kind} \|([^|]*)\|", DOCUMENTED, re.MULTILINE)
    assert _names(row) - {"x-*"} == {name for name, its in KINDS.items() if its == kind}


def test_documents_list_the_headers_that_are_refused() -> None:
    refused = {name for name, header in HEADERS.items() if header.refused}
    assert _names(DOCUMENTED.partition("The error names")[0]) == {
        *refused,
        *(f"{start}*" for start in PREFIXES),
    }


def test_header_without_a_row_is_of_unknown_kind_and_may_occur_often() -> None:
    header = header_of("X-Anything")
    assert (header.kind, header.once) == ("unknown", False)


@pytest.mark.parametrize("name", ["Content-Anything", "ARC-Seal", "RESENT-To"])
def test_header_is_refused_by_how_its_name_begins(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} can't be set here: "):
        header_of(name)
