"""The documents say what the code has, their links and paths exist, and their lines are short."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from babygun.cli.main import COMMANDS
from babygun.runtime.settings import OTHER_VARIABLES, table
from babygun.store.keys import Keys
from tests.repository.test_rooms import ROOMS, SUB_ROOMS
from tests.support.paths import ROOT

WIDTH = 100  # columns of a line of prose
WORDS = 25  # words of a sentence
VARIABLE = re.compile(r"BABYGUN_[A-Z_]+[A-Z]")
# Sentences that begin so hide their subject: readers have to go back to understand them.
HIDDEN_SUBJECT = re.compile(
    r"(?:Who(?:ever|se|m)?|What|Where|Of|Nor|Neither|Else|Those|So (?:is|are|does|has|have))\b"
)

DOCS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("etcd/*.md"),
        *ROOT.glob("deploy/**/*.md"),
    )
}
TEXTS = {**DOCS, "CHANGELOG.md": (ROOT / "CHANGELOG.md").read_text()}


def prose(page: str) -> Iterator[tuple[int, str]]:
    """The lines of a page with their numbers; not code, tables, and what the benchmarks write."""
    code = False
    for number, line in enumerate(TEXTS[page].splitlines(), 1):
        if line.lstrip().startswith(
            ("```", "<!-- bench:", "<!-- /bench:", "<!-- chaos:", "<!-- /chaos:")
        ):
            code = not code
        elif not code and not line.lstrip().startswith("|"):
            yield number, line


def messages(path: Path) -> Iterator[str]:
    """The texts of a module that are no docstrings; a value in them counts as a word."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    inner |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        if id(node) in inner or not isinstance(node, (ast.JoinedStr, ast.Constant)):
            continue
        text = "".join(
            str(part.value) if isinstance(part, ast.Constant) else "value" for part in parts
        )
        if not re.search(r"\\|</|\n", text):
            yield text


def anchors(page: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = [line.lstrip("#").strip() for _, line in prose(page) if line.startswith("#")]
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text) for text in headings)
    }


def sentences(page: str) -> Iterator[str]:
    """The sentences of a page; a code span and a link's address count for nothing or one word."""
    paragraphs = [""]
    for _, line in prose(page):
        starts_item = re.match(r"\s*([*-]|\d+\.) ", line)
        if not line.strip() or starts_item or line.startswith(("#", "<", "!", "[!")):
            paragraphs.append("")
        if not line.startswith(("#", "<", "!", "[!")):
            paragraphs[-1] += re.sub(r"^\s*([*-]|\d+\.) ", "", line) + " "
    for paragraph in paragraphs:
        text = re.sub(r"`[^`]*`", "code", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", paragraph))
        yield from re.split(r"(?<=[.!?:;])\s+", text.replace("**", ""))


def cells(page: str) -> Iterator[str]:
    """The sentences in the tables of a page."""
    for line in TEXTS[page].splitlines():
        if line.startswith("|"):
            text = re.sub(r"`[^`]*`", "code", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line))
            for cell in text.strip("|").split("|"):
                yield from re.split(r"(?<=[.!?:;])\s+", cell.strip())


def test_variables_of_scripts_and_compose_are_known_as_no_settings() -> None:
    scripts = (script for script in ROOT.glob("scripts/*") if script.is_file())
    found = set()
    for path in (ROOT / "deploy/compose.yml", *scripts):
        found |= set(VARIABLE.findall(path.read_text()))
    found -= {"BABYGUN_ETCD"}  # the beginning of several
    assert found - {row.variable for row in table()} <= OTHER_VARIABLES


def test_variables_that_the_pages_name_exist() -> None:
    known = {f"BABYGUN_{row.name.upper()}" for row in table()}
    known |= OTHER_VARIABLES
    unknown = [
        (page, name)
        for page, text in DOCS.items()
        for name in VARIABLE.findall(text)
        if name not in known
    ]
    assert not unknown


def test_links_of_the_pages_lead_somewhere() -> None:
    dead = []
    for page, text in TEXTS.items():
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
            path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
            linked = path.relative_to(ROOT).as_posix()
            if not path.exists() or (anchor and linked in TEXTS and anchor not in anchors(linked)):
                dead.append((page, f"{target}#{anchor}"))
    assert not dead


def test_paths_of_the_source_that_the_pages_name_exist() -> None:
    path_of_ours = re.compile(r"(?<![\w./-])(?:babygun|tests|scripts)/[\w./-]*\w")
    missing = [
        (page, path)
        for page, text in DOCS.items()
        for path in path_of_ours.findall(text)
        if not (ROOT / path).exists()
    ]
    assert not missing


def test_commands_that_the_pages_name_exist() -> None:
    known = {command.name for command in COMMANDS}
    call = re.compile(r"(?:^|`|\$ |\| |bin/)babygun ([a-z]+(?:-[a-z]+)*)", re.MULTILINE)
    unknown = [
        (page, name)
        for page, text in DOCS.items()
        for name in call.findall(text)
        if name not in known
    ]
    assert not unknown


def test_lines_of_the_pages_have_at_most_100_columns() -> None:
    """Tables and code aside, and a line that is one link or code span."""
    long = [
        f"{page}:{number} has {len(line)} columns"
        for page in DOCS
        for number, line in prose(page)
        if len(line) > WIDTH and " " in re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`", "", line).strip()
    ]
    assert not long


def test_sentences_of_the_pages_have_at_most_25_words() -> None:
    long = [
        (page, sentence.strip())
        for page in DOCS
        for sentence in (*sentences(page), *cells(page))
        if len(re.findall(r"[\w'’/.-]*\w", sentence)) > WORDS
    ]
    assert not long


def test_sentences_of_the_pages_begin_with_their_subject() -> None:
    """Questions aside."""
    hidden = [
        (page, sentence.strip())
        for page in DOCS
        for sentence in (*sentences(page), *cells(page))
        if HIDDEN_SUBJECT.match(sentence) and not sentence.rstrip().endswith("?")
    ]
    assert not hidden, "put the subject first, or write 'if' for 'where'"


def test_messages_of_commands_and_api_have_sentences_of_at_most_25_words() -> None:
    """Patterns and HTML aside: they have a backslash or a tag."""
    long = [
        (path.relative_to(ROOT).as_posix(), sentence)
        for room in ("cli", "api", "intake")
        for path in (ROOT / "babygun" / room).rglob("*.py")
        for text in messages(path)
        for sentence in re.split(r"(?<=[.!?:;])\s+", text)
        if len(re.findall(r"[\w'’/.-]*\w", sentence)) > WORDS
    ]
    assert not long


def test_design_page_lists_the_rooms_as_the_test_of_the_rooms_has_them() -> None:
    rows = set(re.findall(r"^\| `([\w/]+)/` \| (.*) \| (.*) \|$", DOCS["docs/design.md"], re.M))
    order = [*ROOMS, *(name for rooms in SUB_ROOMS.values() for name in rooms)]
    assert rows == {
        (
            name.replace(".", "/"),
            purpose,
            ", ".join(f"`{other}`" for other in order if other in allowed) or "nothing",
        )
        for rooms in (ROOMS, *SUB_ROOMS.values())
        for name, (purpose, allowed) in rooms.items()
    }


def test_schema_page_lists_every_kind_of_key() -> None:
    prefixes = {
        value.removeprefix(Keys().prefix).decode()
        for name, value in vars(Keys()).items()
        if name != "prefix"
    }
    listed = set(re.findall(r"^\| `([a-z-]+/?)", DOCS["etcd/schema.md"], re.MULTILINE))
    assert listed == prefixes
