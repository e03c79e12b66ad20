"""What the docs say of settings and commands is what the code has."""

from __future__ import annotations

import re

import pytest

from babygun.cli.main import COMMANDS
from babygun.cli.settings import markdown
from babygun.runtime.settings import table
from babygun.store.keys import Keys
from tests.support.paths import ROOT

DOCS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("etcd/*.md"),
        *ROOT.glob("deploy/**/*.md"),
    )
}


def test_settings_page_has_the_table_as_it_is() -> None:
    assert markdown() in DOCS["docs/settings.md"], (
        "run `babygun settings --markdown` and put its table into docs/settings.md"
    )


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


@pytest.mark.parametrize("page", DOCS)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", DOCS[page]):
        assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", DOCS)
def test_commands_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"(?:^|`|\$ |\| |bin/)babygun ([a-z]+)", DOCS[page], re.MULTILINE))
    assert named <= {command.name for command in COMMANDS}


def test_schema_page_lists_every_kind_of_key() -> None:
    prefixes = {
        value.removeprefix(Keys().prefix).decode()
        for name, value in vars(Keys()).items()
        if name != "prefix"
    }
    listed = set(re.findall(r"^\| `([a-z-]+/?)", DOCS["etcd/schema.md"], re.MULTILINE))
    assert listed == prefixes
