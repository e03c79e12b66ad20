"""Words that the glossary retired are in no document and in no text of the source."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# What each pattern finds, and what to say instead. The glossary has the same list.
RETIRED = {
    r"administrators?": "operator, client with the scope `admin`",
    r"anew": "again",
    r"glances?": "overview",
    r"heartbeats?": "check-in",
    r"in spite of": "although",
    r"in vain": "without success",
    r"likewise": "in the same way",
    r"mend(?:s|ed|ing)?": "repair, solve",
    # "peer port" and the like are etcd's own terms.
    r"peers?(?! (?:port|URL|address|certificate))": "worker, API process; member (of etcd)",
    r"presence": "check-in",
    r"reckon(?:s|ed|ing)?": "estimate, calculate",
    r"seldom": "rarely",
    r"shall": "must, will",
    r"tall(?:y|ies)": "counters",
    r"tells?|told": "say, report, send; distinguish (for: tell apart)",
    r"whoever": "the process, client or person that",
    r"(?:is|are|was|were|be) over(?=[.,;:)]|$)": "final (no more tries), ended",
}
PATTERN = re.compile(rf"\b(?:{'|'.join(f'(?:{word})' for word in RETIRED)})\b", re.IGNORECASE)

GLOSSARY = ROOT / "docs/glossary.md"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("etcd/*.md"),
    *ROOT.glob("deploy/**/*.md"),
]
ROOMS = sorted(
    path for path in (ROOT / "babygun").iterdir() if path.is_dir() and path.name != "__pycache__"
)


def found(text: str) -> list[str]:
    """The retired words of a text; names in code spans are not words."""
    return [match.group() for match in PATTERN.finditer(re.sub(r"`+[^`]*`+", "", text))]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module with their lines: docstrings, messages, help texts, comments.

    A string without a space is a name and no text.
    """
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_has_no_retired_word(path: Path) -> None:
    text = re.sub(
        r"```.*?```", lambda block: "\n" * block[0].count("\n"), path.read_text(), flags=re.S
    )
    if path == GLOSSARY:
        text = text.partition("## Retired words")[0]
    wrong = [
        f"{path}:{number} says {word!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for word in found(line)
    ]
    assert not wrong, "docs/glossary.md says what to write instead:\n" + "\n".join(wrong)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_source_has_no_retired_word(room: Path) -> None:
    wrong = [
        f"{path}:{number} says {word!r}"
        for path in sorted(room.rglob("*.py"))
        for number, text in texts(path)
        for word in found(text)
    ]
    assert not wrong, "docs/glossary.md says what to write instead:\n" + "\n".join(wrong)


def test_glossary_lists_the_retired_words() -> None:
    rows = re.findall(
        r"^\| (.+) \| (.+) \|$", GLOSSARY.read_text().partition("## Retired words")[2], re.MULTILINE
    )
    listed = [word for words, _ in rows[1:] for word in words.split(", ")]
    assert all(re.fullmatch(PATTERN, word) for word in listed)
    assert all(any(re.fullmatch(word, one) for one in listed) for word in RETIRED)
    assert {instead for _, instead in rows[1:]} == set(RETIRED.values())
