"""Commands that change etcd themselves leave an audit entry."""

from __future__ import annotations

import re
from argparse import Namespace

from babygun.cli.audited import command_entry
from babygun.store.audit.listing import Wanted, list_entries
from tests.support.commands import Command
from tests.support.paths import ROOT
from tests.support.rig import Rig

# Commands that open a store and change nothing in it.
READERS = {"domain_checks.py": "it looks into DNS, and reads which clients hold a domain"}


def test_each_command_that_opens_a_store_is_audited_or_only_reads() -> None:
    opening = {
        path.name: path.read_text()
        for path in (ROOT / "babygun/cli").glob("*.py")
        if re.search(r"\bStore\(", path.read_text())
    }
    missing = {
        name
        for name, text in opening.items()
        if not re.search(r"\b(by_command|command_entry)\(", text) and name not in READERS
    }
    assert not missing, f"put by_command around their changes, or say here why not: {missing}"
    assert set(READERS) <= set(opening), "rows that can go"


async def test_client_that_a_command_made_is_in_the_audit_and_a_refused_one_is_not(
    rig: Rig, babygun: Command
) -> None:
    words = ("clients", "create", "the shop", "--id", "shop", "--scope", "emails:send")
    created = await babygun(*words)
    assert created.status == 0
    assert (await babygun(*words)).status != 0
    (entry,) = (await list_entries(rig.store, Wanted(), limit=9)).entries
    assert (entry.action, entry.via, entry.target) == ("createClient", "command", "shop")
    assert entry.details == {"name": "the shop", "scope": "emails:send"}
    assert re.fullmatch(r"\S+@\S+", entry.by) and entry.outcome == "done"
    secret = created.out.split()[-1]
    assert secret not in repr(entry)


def test_entry_says_what_a_command_changes_before_it_is_changed() -> None:
    entry = command_entry("deleteClient", Namespace(id="shop"))
    assert (entry.target, entry.outcome) == ("shop", "begun")
