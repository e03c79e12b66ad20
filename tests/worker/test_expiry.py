"""E-mails end by their own end while their site is held, and only then."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial

import pytest

from babygun.consumer.slices import Slice
from babygun.email.model import Job
from babygun.email.tries import RecipientResult
from babygun.intake.ids import new_email_id
from babygun.routing.sites import site_of_relay
from babygun.runtime.clock import utc_now
from babygun.store.emails.claims import release
from babygun.store.keys import JobRef
from babygun.store.sites import holds as store_holds
from babygun.store.upkeep import trusted_clock
from babygun.worker import expiry
from babygun.worker.counters import RecipientCounts
from babygun.worker.expiry import HeldExpiry, OwnExpiry
from babygun.worker.ready import ReadyJobs
from tests.store.emails.steps import claimed
from tests.support import rig as support
from tests.support.invariants import check_invariants
from tests.support.rig import Rig, changed

ALL = Slice(0, 256)
REFUSED = RecipientResult("hold", "authentication", 535, "5.7.8", "no")
DAY = 86_400.0


class HeldMail:
    """A site, held for ten minutes, and three e-mails of queue ``main``, which are its mail."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.ids: list[str] = []
        self.known: dict[JobRef, Job] = {}

    async def begin(self, site: str = "main") -> None:
        self.site = site
        self.held = await store_holds.begin(self.rig.store, site, REFUSED, worker_id="w1")
        self.ids = [await self.rig.send("ann@example.org") for _ in range(3)]

    async def look(self, *, expires_after: float = 60.0) -> None:
        """A worker looks at the held e-mails, which may be held for so long."""
        store = self.rig.store
        store.settings = changed(store.settings, hold_expires_after=expires_after)
        assert self.held is not None
        looks = HeldExpiry(
            store, RecipientCounts(str), known=lambda _: self.known.items(), ended=self.known.pop
        )
        await looks.once({self.held.hold.name: self.held}, ALL, "w1")

    async def left(self) -> list[str]:
        seen = await check_invariants(self.rig.store)
        return [i for i in self.ids if seen.emails[i].status == "incomplete"]


@pytest.fixture
async def mail(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> HeldMail:
    return await held_mail(rig, monkeypatch)


async def held_mail(rig: Rig, monkeypatch: pytest.MonkeyPatch, site: str = "main") -> HeldMail:
    monkeypatch.setattr(trusted_clock, "_STEADY", 0.0)
    mail, earlier = HeldMail(rig), utc_now() - timedelta(minutes=10)

    async def then_now() -> datetime:
        return earlier

    with monkeypatch.context() as then:
        then.setattr(rig.store.clock, "now", then_now)
        then.setattr(support, "new_email_id", partial(new_email_id, nanoseconds(earlier)))
        await mail.begin(site)
    return mail


def nanoseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000_000


async def test_held_emails_end_when_they_have_waited_long_enough(mail: HeldMail) -> None:
    await mail.look(expires_after=3600.0)
    assert await mail.left() == mail.ids
    await mail.look()
    assert await mail.left() == []


async def test_mail_of_a_held_site_of_mail_hosts_ends_as_far_as_it_is_known(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = await held_mail(rig, monkeypatch, "mx:large")
    await mail.look()
    assert await mail.left() == mail.ids
    mail.known = {JobRef(email_id, "main"): Job(0, 1) for email_id in mail.ids[:2]}
    await mail.look(expires_after=3600.0)
    assert len(mail.known) == 2
    await mail.look()
    assert await mail.left() == mail.ids[2:] and not mail.known


async def test_hold_of_one_senders_domain_ends_no_mail_of_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = await held_mail(rig, monkeypatch, "mx:large")
    await store_holds.end_by_operator(rig.store, "mx:large")
    mail.held = await store_holds.begin(
        rig.store, "mx:large", REFUSED, worker_id="w1", sender="example.com"
    )
    mail.known = {JobRef(email_id, "main"): Job(0, 1) for email_id in mail.ids}
    await mail.look()
    assert await mail.left() == mail.ids


async def test_worker_whose_clock_is_ahead_of_etcds_ends_no_held_email(
    mail: HeldMail, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ahead() -> object:
        return utc_now() + timedelta(days=31)

    async def clock_ahead(*_: object) -> float:
        return 31 * DAY

    monkeypatch.setattr(trusted_clock, "utc_now", ahead)
    monkeypatch.setattr(trusted_clock, "clock_ahead", clock_ahead)
    await mail.look(expires_after=2 * DAY)
    assert await mail.left() == mail.ids


async def test_hold_that_has_ended_in_etcd_ends_no_email_any_more(mail: HeldMail) -> None:
    """The worker has not seen yet that mail flows again."""
    assert mail.held is not None
    await store_holds.end(mail.rig.store, mail.held)
    await mail.look()
    assert await mail.left() == mail.ids


async def test_unreadable_record_keeps_no_other_held_email_from_its_end(mail: HeldMail) -> None:
    store = mail.rig.store
    await store.client.put(store.keys.email(mail.ids[0]), b"{")
    await mail.look()
    assert [(await mail.rig.get(i)).status for i in mail.ids[1:]] == ["failed", "failed"]


def known_to(ready: ReadyJobs, mail: HeldMail) -> None:
    """All e-mails have an end, which has come for the first two."""
    for number, email_id in enumerate(mail.ids):
        ends = utc_now() + timedelta(hours=-1 if number < 2 else 1)
        ready.add(JobRef(email_id, "main"), Job(1, 1, expires_at=ends))


def looks_at(mail: HeldMail) -> tuple[ReadyJobs, OwnExpiry]:
    ready = ReadyJobs(100, lambda queue: site_of_relay(queue, None))
    return ready, OwnExpiry(mail.rig.store, RecipientCounts(str), ready)


async def test_emails_of_a_slow_site_end_when_their_own_end_has_come(mail: HeldMail) -> None:
    ready, looks = looks_at(mail)
    known_to(ready, mail)
    await looks.once({}, "w1")
    assert await mail.left() == mail.ids[2:]
    assert [ref.email_id for ref in ready.jobs("main")] == mail.ids[2:]
    [recipient] = (await mail.rig.get(mail.ids[0])).recipients
    assert (recipient.status, recipient.tries) == ("expired", 0)
    assert recipient.status_reason == "expires_at came before it could be sent"


async def test_email_of_a_held_site_that_ends_by_its_own_end_names_the_hold(
    mail: HeldMail,
) -> None:
    ready, looks = looks_at(mail)
    known_to(ready, mail)
    assert mail.held is not None
    await looks.once({"main": mail.held}, "w1")
    assert await mail.left() == mail.ids[2:]
    [recipient] = (await mail.rig.get(mail.ids[0])).recipients
    assert "site main was held since" in (recipient.status_reason or "")


async def test_email_that_is_being_sent_when_its_end_comes_stays_and_is_not_forgotten(
    mail: HeldMail,
) -> None:
    ready, looks = looks_at(mail)
    await claimed(mail.rig, mail.ids[0])
    known_to(ready, mail)
    await looks.once({}, "w1")
    assert await mail.left() == [mail.ids[0], mail.ids[2]]
    assert len(ready) == 2


async def test_job_that_waits_again_is_not_ended(mail: HeldMail) -> None:
    """It was ready when it was read, and a try has put it off since."""
    rig, ref = mail.rig, JobRef(mail.ids[0], "main")
    await rig.store.client.delete(rig.store.keys.job(ref))
    ended = await expiry.expire(rig.store, ref, REFUSED, "w1", RecipientCounts(str))
    assert not ended and (await rig.get(ref.email_id)).status == "incomplete"


async def test_job_that_is_being_sent_is_not_ended(mail: HeldMail) -> None:
    got = await claimed(mail.rig, mail.ids[0])
    await mail.look()
    assert await mail.left() == [mail.ids[0]]
    await release(mail.rig.store, got.ref, got.owner_revision)
    await mail.look()
    assert await mail.left() == []


async def test_two_workers_that_look_at_the_same_time_end_each_email_once(mail: HeldMail) -> None:
    await asyncio.gather(mail.look(), mail.look())
    assert await mail.left() == []
    for email_id in mail.ids:
        assert await mail.rig.events(email_id) == ["accepted", "expired"]
