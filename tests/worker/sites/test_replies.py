"""What a site's replies do: to its limits, to its holds, to those of one sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from babygun.routing.providers import load_providers
from babygun.routing.sites import Site
from babygun.runtime.clock import utc_now
from babygun.smtp.classifier import Classifier
from babygun.smtp.replies import Phase, parse_reply
from babygun.store.records import Hold, SiteReport
from babygun.store.sites import steering
from babygun.store.sites.holds import list_holds
from babygun.store.sites.limits import list_limits
from babygun.store.sites.reports import write_report
from babygun.worker.sites.replies import MOST_SILENT
from babygun.worker.sites.sites import Sites
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

PROVIDERS = load_providers()
CLASSIFIER = Classifier.load()
GOOGLE = Site("mx:google", PROVIDERS.by_name["google"], PROVIDERS.by_name["google"].limits, True)
OUTLOOK = GOOGLE._replace(name="mx:outlook", provider=PROVIDERS.by_name["outlook"])
TAIL = Site("mx:mx1.example.org", PROVIDERS.default, PROVIDERS.default.limits, shared=False)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 (of tasks of the product)
        await asyncio.sleep(0.01)


class Known:
    """A worker's sites, and what may go on since."""

    def __init__(self, rig: Rig, workers: int = 1) -> None:
        self.store = rig.store
        self.went_on: asyncio.Queue[str] = asyncio.Queue()
        self.known = asyncio.Event()
        self.sites = Sites(
            rig.store,
            {},
            identity=lambda: None,
            workers=lambda: workers,
            wake=self.known.set,
            may_go_on=self.went_on.put_nowait,
            sender_may_go_on=lambda site, sender: self.went_on.put_nowait(f"{site}/{sender}"),
        )

    def say(self, site: Site, phase: Phase, text: str, sender: str = "example.com") -> None:
        """The site says this to an e-mail."""
        reply = parse_reply(text, phase)
        self.sites.replied(site, reply, CLASSIFIER.classify(reply, route="mx"), sender)

    async def held(self, name: str) -> Hold:
        await until(lambda: name in self.sites.holds.by_name)
        return self.sites.holds.by_name[name].hold


@asynccontextmanager
async def running(rig: Rig, workers: int = 1) -> AsyncIterator[Known]:
    known = Known(rig, workers)
    task = asyncio.create_task(known.sites.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await known.known.wait()
            yield known
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await known.sites.close()


async def test_connections_that_only_fail_hold_the_site_and_one_that_works_begins_the_count_again(
    rig: Rig,
) -> None:
    refused: tuple[Phase, str] = ("connect", "connecting to mx1.example.org: Connection refused")
    async with running(rig) as known:
        for _ in range(2):
            known.say(TAIL, *refused)
        known.say(TAIL, "rcpt", "250 ok")
        for _ in range(2):
            known.say(TAIL, *refused)
        assert known.sites.obstacle(TAIL) is None
        known.say(TAIL, *refused)
        hold = await known.held(TAIL.name)
        assert known.sites.obstacle(TAIL) == "held" and hold.status_code is None
        assert hold.probe_at - hold.since < timedelta(minutes=1)
        known.say(TAIL, *refused)  # of a try that ran meanwhile
    assert len(await list_holds(rig.store)) == 1


async def test_refused_session_holds_the_site(rig: Rig) -> None:
    async with running(rig) as known:
        known.say(TAIL, "greeting", "554 5.7.1 your address is blocked by our list")
        assert (await known.held(TAIL.name)).status_code == 554


async def test_tables_reply_holds_the_site_for_its_time_once_it_was_said_often_enough(
    rig: Rig,
) -> None:
    async with running(rig) as known:
        for _ in range(4):
            known.say(OUTLOOK, "rcpt", "451 4.7.500 Server busy. Please try again later")
        assert known.sites.obstacle(TAIL) is None and await list_holds(rig.store) == []
        known.say(OUTLOOK, "rcpt", "451 4.7.500 Server busy. Please try again later")
        hold = await known.held(OUTLOOK.name)
    assert timedelta(minutes=29) < hold.probe_at - hold.since <= timedelta(minutes=30)


async def test_tables_reply_counts_with_those_of_the_other_workers(rig: Rig) -> None:
    busy = "451 4.7.500 Server busy. Please try again later"
    lease = await rig.store.client.grant(60)
    async with running(rig, workers=2) as known:
        for _ in range(2):
            known.say(OUTLOOK, "rcpt", busy)
        [(site, asked)] = known.sites._replies.asked().items()
        assert (site, list(asked.values())) == (OUTLOOK.name, [2])
        other = SiteReport(site=OUTLOOK.name, asked=dict.fromkeys(asked, 2))
        await write_report(rig.store, [other], worker_id="other", lease_id=lease)
        await until(lambda: not known.sites._replies._asking)  # they asked before that report
        known.say(OUTLOOK, "rcpt", busy)
        await known.held(OUTLOOK.name)
        assert not known.sites._replies.asked(), "the count begins again"


async def test_tables_reply_slows_the_site_for_all(rig: Rig) -> None:
    async with running(rig) as known:
        for _ in range(2):
            known.say(OUTLOOK, "mail", "421 4.3.2 The maximum number of connections is exceeded")
        assert OUTLOOK.limits
        await until(lambda: known.sites._adapting.whole(OUTLOOK).connections == 1)
        (lowered,) = await list_limits(rig.store)
    assert lowered.site == OUTLOOK.name and lowered.status_code == 421


async def test_mailbox_that_takes_no_more_slows_and_holds_nothing(rig: Rig) -> None:
    async with running(rig) as known:
        for _ in range(30):
            known.say(
                GOOGLE,
                "rcpt",
                "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
            )
        assert known.sites._adapting.whole(GOOGLE) == GOOGLE.limits
    assert await list_holds(rig.store) == [] and await list_limits(rig.store) == []


async def test_authentication_failure_holds_the_senders_domain_alone(rig: Rig) -> None:
    async with running(rig) as known:
        known.say(
            GOOGLE,
            "message",
            "421 4.7.30 Your email has been rate limited because DKIM authentication didn't pass",
            sender="bad.example",
        )
        hold = await known.held("mx:google/bad.example")
        assert hold.until == hold.probe_at, "nobody probes it"
        assert known.sites.sender_held("mx:google", "bad.example")
        assert not known.sites.sender_held("mx:google", "good.example")
        assert known.sites.obstacle(TAIL) is None and not known.sites.holds.is_held("mx:google")
        assert await steering.resume(rig.store, "mx:google", sender="bad.example")
        assert await known.went_on.get() == "mx:google/bad.example"


async def test_site_that_an_operator_holds_goes_on_when_it_is_resumed(rig: Rig) -> None:
    async with running(rig) as known:
        await steering.hold(
            rig.store, TAIL.name, reason="asked to", until=utc_now() + timedelta(hours=1), by="ann"
        )
        await known.held(TAIL.name)
        assert known.sites.obstacle(TAIL) == "held"
        await steering.resume(rig.store, TAIL.name)
        assert await known.went_on.get() == TAIL.name
        assert known.sites.obstacle(TAIL) is None
        assert known.sites._adapting.whole(TAIL) == TAIL.limits, "at full speed at once"


async def test_worker_whose_own_network_fails_holds_few_sites(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, asked = Known(rig), list[str]()
    monkeypatch.setattr(known.sites.holds, "hold", lambda site, *_: asked.append(site))

    def all_fail(name: str) -> None:
        for number in range(2 * MOST_SILENT):
            site = TAIL._replace(name=f"mx:{name}{number}.example")
            for _ in range(3):
                known.say(site, "connect", "connecting: Network is unreachable")

    all_fail("a")
    assert len(asked) == MOST_SILENT
    known.say(GOOGLE, "message", "250 2.0.0 OK")
    all_fail("b")
    assert len(asked) == 2 * MOST_SILENT
