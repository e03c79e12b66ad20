"""``babygun sites``, against a real API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from babygun.api.emails import waits
from babygun.email.tries import RecipientResult
from babygun.routing.providers import Limits, Rate
from babygun.runtime.settings import Settings
from babygun.store.records import SiteReport
from babygun.store.sites import holds
from babygun.store.sites.reports import write_report
from tests.support.commands import Command
from tests.support.development import answered
from tests.support.dns_servers import failing, scripted
from tests.support.rig import Rig, quick, rig_for

HOLD = ("hold", "mx:google", "--reason", "they asked us to", "--for", "2h")


@pytest.fixture
async def rig(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """Mail to domains goes straight, and DNS fails: each domain is its own site.

    Calls wait for DNS however slow this machine is.
    """
    monkeypatch.setattr(waits, "PATIENCE", 20.0)
    async with (
        scripted(failing) as resolver,
        rig_for(quick(settings, {}, default="mx", resolvers=(resolver,))) as rig,
    ):
        yield rig


def line_of(out: str, site: str) -> str:
    return next(line for line in out.splitlines() if line.startswith(site))


async def test_sites_are_held_resumed_and_limited_for_a_while(with_api: Command) -> None:
    none = await with_api("sites")
    assert (none.status, none.out) == (0, "no site has mail, a hold or temporary limits\n")
    held = await with_api("sites", *HOLD)
    assert held.status == 0 and "held by operator" in held.out
    listed = (await with_api("sites")).out
    assert line_of(listed, "mx:google").endswith("UTC: they asked us to")
    assert "USUALLY" not in listed
    limits = ("--connections", "1", "--rate", "20/min", "--reason", "new address")
    limited = await with_api("sites", "limit", "mx:google", *limits, "--for", "1d", "--json")
    assert json.loads(limited.out)["limits"]["rate"] == "20/min"
    assert (await with_api("sites", "resume", "mx:google")).status == 0
    shown = (await with_api("sites", "show", "mx:google")).out
    assert "20/min" in shown and "new address" in shown and "held" not in shown
    line = line_of((await with_api("sites")).out, "mx:google")
    assert "1 x 50, 20/min  5 x 50" in line and "limited by operator" in line
    assert "limited" not in (await with_api("sites", "unlimit", "mx:google")).out
    assert json.loads((await with_api("sites", "--json")).out) == {"sites": []}


async def test_sites_say_what_is_wrong_in_one_sentence(with_api: Command) -> None:
    for words, said in (
        (("resume", "mx:google"), "mx:google is not held"),
        (("resume", "mx:google", "--sender", "a.example"), "for senders of a.example"),
        (("unlimit", "mx:google"), "has its usual limits"),
        (("show", "nobody"), "No mail waits for a site nobody"),
        ((*HOLD[:-1], "40d"), "31 days at most"),
        (("limit", "mx:google", "--for", "1d"), "give a limit"),
    ):
        refused = await with_api("sites", *words)
        assert refused.status == 1 and len(refused.error.splitlines()) == 1, refused
        assert said.lower() in refused.error.lower()
    assert (await with_api("sites", "hold", "mx:google")).status == 2


async def test_sites_show_what_waits_and_what_servers_said(rig: Rig, with_api: Command) -> None:
    row = SiteReport(
        site="mx:a.example",
        queues=2,
        waiting=1204,
        connections=3,
        limits=Limits(5, 50, Rate(100, 1)),
        sent=2900,
        deferred=12,
        why="slot",
    )
    lease = await rig.store.client.grant(600)
    await write_report(rig.store, [row], worker_id="one", lease_id=lease)

    async def shown(words: str, *command: str) -> str:
        """What a command prints, once the API knows: it follows etcd."""
        return str(await answered(lambda: printed(*command), lambda out: words in out))

    async def printed(*command: str) -> str:
        return (await with_api("sites", *command)).out

    line = line_of(await shown("mx:a.example"), "mx:a.example").split()
    assert line[1:7] == ["1204", "2", "-", "2900", "12", "3"]
    assert line[-5:] == ["other", "workers", "have", "its", "connections"]
    reply = RecipientResult("hold", "authentication", 421, "4.7.26", "no\x1b[31m SPF")
    await holds.begin(
        rig.store,
        "mx:a.example",
        reply,
        sender="news.example.com",
        worker_id="w",
        first_probe=900.0,
    )
    said = await shown("mail of news.example.com is held until 20", "show", "mx:a.example")
    assert "421 4.7.26 no [31m SPF" in said


async def test_emails_show_says_why_each_queue_waits(rig: Rig, with_api: Command) -> None:
    email_id = await rig.send("ann@a.example")
    ready = (await with_api("emails", "show", email_id)).out
    assert "it is next in line" in line_of(ready, "mx:a.example")
    await with_api("sites", "hold", "mx:a.example", "--reason", "pause", "--for", "1h")
    held = line_of((await with_api("emails", "show", email_id)).out, "mx:a.example")
    assert "is held by an operator" in held and held.endswith("pause")
