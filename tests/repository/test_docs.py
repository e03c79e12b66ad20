"""The documents say what the code has, their links and paths exist, and their lines are short."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from babygun.cli.main import COMMANDS
from babygun.runtime.settings import table
from babygun.store.keys import Keys
from tests.repository.test_rooms import ROOMS, SUB_ROOMS
from tests.support.paths import ROOT

WIDTH = 100  # columns of a line of prose
WORDS = 25  # words of a sentence

DOCS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
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
        if line.lstrip().startswith(("```", "<!-- bench:", "<!-- /bench:")):
            code = not code
        elif not code and not line.lstrip().startswith("|"):
            yield number, line


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


@pytest.mark.parametrize("page", DOCS)
def test_variables_that_a_page_names_exist(page: str) -> None:
    known = {f"BABYGUN_{row.name.upper()}" for row in table()} | {
        "BABYGUN_CONFIG",
        "BABYGUN_ETCD_BIN",
        "BABYGUN_TEST_ETCD",
    }
    for path in (
        ROOT / "deploy/compose.yml",
        *(script for script in ROOT.glob("scripts/*") if script.is_file()),
    ):
        known |= set(re.findall(r"BABYGUN_[A-Z_]+[A-Z]", path.read_text()))
    named = set(re.findall(r"BABYGUN_[A-Z_]+[A-Z]", DOCS[page]))
    assert named <= known


@pytest.mark.parametrize("page", TEXTS)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", TEXTS[page]):
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        linked = path.relative_to(ROOT).as_posix()
        if anchor and linked in TEXTS:
            assert anchor in anchors(linked), f"{page} links to {target}#{anchor}"


@pytest.mark.parametrize("page", DOCS)
def test_paths_of_the_source_that_a_page_names_exist(page: str) -> None:
    for path in re.findall(r"(?<![\w./-])(?:babygun|tests|scripts)/[\w./-]*\w", DOCS[page]):
        assert (ROOT / path).exists(), f"{page} names {path}"


@pytest.mark.parametrize("page", DOCS)
def test_commands_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"(?:^|`|\$ |\| |bin/)babygun ([a-z]+)", DOCS[page], re.MULTILINE))
    assert named <= {command.name for command in COMMANDS}


@pytest.mark.parametrize("page", DOCS)
def test_lines_of_a_page_have_at_most_100_columns(page: str) -> None:
    """Tables and code aside, and a line that is one link or code span."""
    long = [
        f"{page}:{number} has {len(line)} columns"
        for number, line in prose(page)
        if len(line) > WIDTH and " " in re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`", "", line).strip()
    ]
    assert not long


@pytest.mark.parametrize("page", DOCS)
def test_sentences_of_a_page_have_at_most_25_words(page: str) -> None:
    long = [
        sentence.strip()
        for sentence in sentences(page)
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
