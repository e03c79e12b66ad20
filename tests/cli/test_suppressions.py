"""``babygun suppressions``, against a real API."""

from __future__ import annotations

import json

from babygun.store.access.clients import create_client
from tests.support.commands import Command
from tests.support.rig import Rig


async def test_address_is_added_shown_listed_and_removed(rig: Rig, with_api: Command) -> None:
    none = await with_api("suppressions", "list")
    assert (none.status, none.out) == (0, "no address is suppressed\n")
    added = await with_api("suppressions", "add", "Ann@Example.org", "--list", "news")
    assert added.out.splitlines()[1].split()[:3] == ["ann@example.org", "news", "manual"]
    until = ("--until", "2040-01-31T08:00:00Z", "--reason", "complaint")
    await with_api("suppressions", "add", "ann@example.org", *until)
    shown = (await with_api("suppressions", "show", "ann@example.org")).out
    assert "2040-01-31 08:00" in shown and "for ever" in shown
    listed = await with_api("suppressions", "list", "--prefix", "ann", "--limit", "1", "--json")
    page = json.loads(listed.out)
    assert [one["list"] for one in page["suppressions"]] == ["*"] and page["cursor"]
    rest = await with_api("suppressions", "list", "--cursor", page["cursor"], "--json")
    assert [one["list"] for one in json.loads(rest.out)["suppressions"]] == ["news"]
    off = await with_api("suppressions", "remove", "ann@example.org", "--list", "news")
    assert off.out == "taken off 1 list: news\n"
    assert (await with_api("suppressions", "remove", "ann@example.org")).out.endswith(": *\n")
    gone = await with_api("suppressions", "show", "ann@example.org")
    assert gone.status == 1 and "mail goes there" in gone.error


async def test_suppressions_of_another_client_are_named_by_its_id(
    rig: Rig, with_api: Command
) -> None:
    shop, _ = await create_client(rig.store, name="shop", scopes=("suppressions",))
    added = await with_api("suppressions", "add", "ann@example.org", "--client", shop.id)
    assert added.status == 0
    await with_api("suppressions", "add", "bob@example.org")
    everybody = (await with_api("suppressions", "list")).out
    assert "CLIENT" in everybody and shop.id in everybody
    theirs = (await with_api("suppressions", "list", "--client", shop.id)).out
    assert "ann@example.org" in theirs and "bob" not in theirs and "CLIENT" not in theirs
    own = await with_api("suppressions", "export")
    assert "bob@example.org" in own.out and "ann" not in own.out
    unknown = await with_api("suppressions", "show", "ann@example.org", "--client", "nobody")
    assert unknown.status == 1 and "no client with this id" in unknown.error
