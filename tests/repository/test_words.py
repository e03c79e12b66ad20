"""Words that the glossary retired are in no document and in no text of the source."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

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
    # "peer port" and the like are etcd's own terms, and "reset by peer" is the kernel's.
    r"(?<!by )peers?(?! (?:port|URL|address|certificate))": "worker, API process; member (of etcd)",
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
    # Tokenizing takes longer than all else: only where a line with a comment may say such a word.
    if any("#" in line and PATTERN.search(line) for line in source.splitlines()):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def names(path: Path) -> Iterator[tuple[int, str]]:
    """The names of the tests of a module, as sentences, with their lines."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if named := re.match(r" *(?:async def|def|class) (test_\w+)", line):
            yield number, named[1].replace("_", " ")


def words_of(path: Path) -> Iterator[tuple[int, str]]:
    """The prose of a page, by line."""
    text = re.sub(
        r"```.*?```", lambda block: "\n" * block[0].count("\n"), path.read_text(), flags=re.S
    )
    if path == GLOSSARY:
        text = text.partition("## Retired words")[0]
    yield from enumerate(text.splitlines(), 1)


def check(paths: Iterable[Path], texts_of: Callable[[Path], Iterable[tuple[int, str]]]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number} says {word!r}"
        for path in paths
        for number, text in texts_of(path)
        for word in found(text)
    ]
    assert not wrong, "docs/glossary.md says what to write instead:\n" + "\n".join(wrong)


def test_pages_have_no_retired_word() -> None:
    check(PAGES, words_of)


def test_source_has_no_retired_word() -> None:
    check(sorted((ROOT / "babygun").rglob("*.py")), texts)


def test_tests_have_no_retired_word() -> None:
    paths = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
    check(paths, texts)
    check(paths, names)


def test_glossary_lists_the_retired_words() -> None:
    rows = re.findall(
        r"^\| (.+) \| (.+) \|$", GLOSSARY.read_text().partition("## Retired words")[2], re.MULTILINE
    )
    listed = [word for words, _ in rows[1:] for word in words.split(", ")]
    assert all(re.fullmatch(PATTERN, word) for word in listed)
    assert all(any(re.fullmatch(word, one) for one in listed) for word in RETIRED)
    assert {instead for _, instead in rows[1:]} == set(RETIRED.values())
