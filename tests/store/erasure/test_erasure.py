"""After an erasure no key of etcd names the recipient, and the others keep what is theirs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from babygun.email.addresses import hash_of
from babygun.email.erasure import MARK
from babygun.email.model import Content
from babygun.errors import EtcdUnavailable
from babygun.etcd import KeyValue
from babygun.runtime.clock import utc_now
from babygun.store import Store, codec
from babygun.store.changes.feed import current_revision
from babygun.store.emails.acceptance import accept
from babygun.store.emails.finish import finish
from babygun.store.emails.new_email import prepare
from babygun.store.emails.reading import get_email
from babygun.store.erasure import emails as of_emails
from babygun.store.erasure import search
from babygun.store.erasure.emails import Asker
from babygun.store.erasure.erasure import Report, erase_recipient
from babygun.store.erasure.export import export
from babygun.store.erasure.search import Place, Search, place_of
from babygun.store.keys import range_end
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import Fullness
from babygun.store.upkeep.waiting_notices import WaitingNotices
from babygun.store.webhooks.notices import Outcome, give_back, read_ready, take
from babygun.store.webhooks.notices import finish as finish_notices
from babygun.store.webhooks.records import SHORT_OF_ROOM, SWITCHED_OFF, WebhookHealth
from babygun.store.webhooks.replay import replay_ids
from tests.store.emails.steps import HARD, OK, SOFT, claimed, lease, pending
from tests.store.webhooks.steps import new_webhook, ready
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

ANN, BOB, JOANN = "ann@example.org", "bob@example.org", "joann@example.org"
ASKER = Asker("admin", "r9")


async def erase(rig: Rig, **how: Any) -> Report:
    """The reports of all calls, added up."""
    how.setdefault("seconds", 60.0)
    return await erase_recipient(rig.store, ANN, asker=ASKER, **how)


async def naming(store: Store, address: str = ANN) -> list[bytes]:
    """The keys that name an address, in the key or the value."""
    prefix, needle = store.keys.prefix, address.encode()
    kvs = (await store.client.range(prefix, range_end(prefix))).kvs
    texts = {kv.key: (kv.key + b" " + _plain(store, kv)).lower() for kv in kvs}
    return [key for key, text in texts.items() if needle in text.replace(JOANN.encode(), b"")]


def _plain(store: Store, kv: KeyValue) -> bytes:
    notices = (store.keys.notices, store.keys.due_notices, store.keys.sent_notices)
    return codec.decompressed(kv.value) if kv.key.startswith(notices) else kv.value


async def tried(rig: Rig, email_id: str, *outcomes: Any) -> None:
    """One try, with an outcome for each recipient that is not final."""
    got = await claimed(rig, email_id)
    one = pending(got, OK)
    left = [r.email for r in got.email.recipients if not r.final]
    results = dict(zip(left, outcomes, strict=True))
    one.result = msgspec.structs.replace(one.result, results=results)
    await finish(rig.store, [one])


async def world(rig: Rig) -> dict[str, str]:
    """E-mails to Ann alone and to several, in all states, by name."""
    unknown = msgspec.structs.replace(HARD, reason=f"<{ANN}> unknown")
    made = {
        "waits": await rig.send(ANN),
        "delivered": await rig.send("Ann@Example.org"),
        "failed": await rig.send(ANN, body="x" * 900_000),
        "both wait": await rig.send(ANN, BOB, subject=f"{ANN} and {BOB}"),
        "both deferred": await rig.send(BOB, ANN),
        "both final": await rig.send(ANN, BOB),
        "others": await rig.send(JOANN),
        "later": await rig.send(ANN, BOB, send_at=None),
    }
    await tried(rig, made["delivered"], OK)
    await tried(rig, made["failed"], unknown)
    await tried(rig, made["both deferred"], SOFT, msgspec.structs.replace(SOFT, reason=f"<{ANN}>"))
    await tried(rig, made["both final"], unknown, OK)
    await tried(rig, made["others"], OK)
    return made


async def test_erasure_leaves_no_key_that_names_the_address(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    made = await world(rig)
    await rig.suppress(ANN)
    await rig.suppress(ANN, list_name="news", reply=f"<{ANN}> unknown")
    await rig.suppress(JOANN)
    assert len(await naming(rig.store)) > 15
    counted = await erase(rig, dry_run=True)
    before = await check_invariants(rig.store)
    report = await erase(rig)
    assert await naming(rig.store) == []
    assert (report.deleted, report.erased, report.suppressions) == (3, 4, 2)
    assert (counted.deleted, counted.erased, counted.suppressions) == (3, 4, 2)
    assert report.under_way == 0 and report.next is None and report.notices > 8
    after = await check_invariants(rig.store)
    gone = {made[name] for name in ("waits", "delivered", "failed")}
    assert before.emails.keys() - after.emails.keys() == gone
    assert after.emails[made["others"]] == before.emails[made["others"]]
    for name in ("both wait", "both deferred", "both final", "later"):
        old, new = before.emails[made[name]], after.emails[made[name]]
        assert {r.email for r in new.recipients} == {MARK, BOB}
        assert [r for r in new.recipients if r.email == BOB] == [
            r for r in old.recipients if r.email == BOB
        ], name
        (entry,) = [e for e in await rig.log(made[name]) if e.event == "erased"]
        assert (entry.client_id, entry.request_id) == ASKER
        assert after.chunks[made[name]] == before.chunks[made[name]]
    kinds = [event.type for event in await ready(rig.store, webhook)]
    assert kinds.count("cancelled") == 4, "one for each that was not final"
    assert await erase(rig) == Report(read=(await erase(rig)).read), "nothing is left"


async def test_content_of_an_email_to_several_keeps_the_text_and_loses_the_recipient(
    rig: Rig,
) -> None:
    email, content = rig.email(ANN, BOB, subject=f"For {ANN}", body="é" * 900_000)
    content = msgspec.structs.replace(
        content,
        to=(f"Ann <{ANN.upper()}>", BOB),
        bcc=(ANN,),
        headers=(("X-For", ANN), ("X-Other", "x")),
    )
    await accept(rig.store, "client", prepare(rig.store, email, content))
    await erase(rig)
    view = await get_email(rig.store, email.id)
    assert view is not None and view.content == Content(
        "me@example.com",
        f"For {MARK}",
        to=(BOB,),
        body="é" * 900_000,
        headers=(("X-For", MARK), ("X-Other", "x")),
    )
    whole = await rig.store.client.range(
        rig.store.keys.content(email.id), range_end(rig.store.keys.content(email.id))
    )
    assert view.email.size == sum(len(kv.value) for kv in whole.kvs)
    assert view.email.subject == f"For {MARK}"


async def test_recipient_of_a_wide_email_becomes_a_mark_in_its_part(rig: Rig) -> None:
    email, content = rig.wide_email(18)
    await accept(rig.store, "client", prepare(rig.store, email, content))
    address = "ann@d0003.example"
    report = await erase_recipient(rig.store, address, seconds=60, asker=ASKER)
    assert (report.erased, report.deleted) == (1, 0)
    assert await naming(rig.store, address) == []
    seen = await check_invariants(rig.store)
    assert [r.status for r in seen.emails[email.id].recipients if r.email == MARK] == ["cancelled"]
    assert len(seen.jobs) == 17


async def test_recipient_that_is_being_sent_is_erased_when_the_try_has_ended(rig: Rig) -> None:
    alone, both = await rig.send(ANN), await rig.send(ANN, BOB)
    tries = [pending(await claimed(rig, email_id), OK) for email_id in (alone, both)]
    report = await erase(rig)
    assert (report.under_way, report.deleted, report.erased) == (2, 0, 0)
    for one in tries:
        await finish(rig.store, [one])
    assert (await erase(rig)).under_way == 0
    assert await naming(rig.store) == []
    await check_invariants(rig.store)


async def test_erasure_goes_on_from_each_place_and_again_after_a_crash(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world(rig)
    await rig.suppress(ANN)
    change_record = of_emails.change_record

    async def crash(*arguments: Any, **named: Any) -> None:
        raise EtcdUnavailable("away")

    monkeypatch.setattr(of_emails, "change_record", crash)
    with pytest.raises(EtcdUnavailable):
        await erase(rig)
    monkeypatch.setattr(of_emails, "change_record", change_record)
    place: Place | None = Place()
    calls = 0
    while place is not None:
        report = await erase(rig, place=place_of(place.cursor), seconds=0)
        place, calls = report.next, calls + 1
    assert calls > 6
    assert await naming(rig.store) == []
    await check_invariants(rig.store)


@pytest.mark.parametrize("mode", ["hash", "delete"])
async def test_suppression_is_kept_as_a_hash_or_goes(rig: Rig, mode: Any) -> None:
    await rig.suppress(ANN, reason="unsubscribe")
    report = await erase(rig, suppressions=mode)
    assert report.suppressions == 1 and await naming(rig.store) == []
    email, content = rig.email("ANN@example.org")
    accepted = await accept(rig.store, "client", prepare(rig.store, email, content))
    assert accepted.suppressed == ((0,) if mode == "hash" else ())
    keys = (await check_invariants(rig.store)).suppressions
    assert [name for _, _, name in keys] == ([hash_of(ANN)] if mode == "hash" else [])


async def test_word_of_a_person_that_is_kept_as_a_hash_outlives_a_later_bounce(rig: Rig) -> None:
    await rig.suppress(ANN, reason="unsubscribe")
    await erase(rig)
    await rig.suppress(ANN, reason="hard_bounce", until=utc_now() + timedelta(days=90))
    assert (await erase(rig)).suppressions == 1 and await naming(rig.store) == []
    ((key, (kept, _)),) = (await check_invariants(rig.store)).suppressions.items()
    assert (key[2], kept.reason, kept.until) == (hash_of(ANN), "unsubscribe", None)


async def test_what_can_not_be_read_is_left_and_the_rest_is_erased(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = rig.store.keys.suppression("client", "*", ANN)
    await rig.store.client.put(unreadable, b"{")
    await rig.suppress(ANN, list_name="news")
    await rig.send(ANN)
    report = await erase(rig)
    assert (report.deleted, report.suppressions, report.under_way) == (1, 1, 1)
    assert await naming(rig.store) == [unreadable]
    named = {vars(record)["fields"]["key"] for record in caplog.records}
    assert named == {unreadable.decode().replace(ANN, "…")}
    await rig.store.client.delete(unreadable)


class Sent:
    """Three notices that name Ann and were sent, and what happens to the first of them."""

    def __init__(self, rig: Rig, webhook_id: str) -> None:
        self.rig, self.webhook_id = rig, webhook_id
        self.event_id = ""

    async def begin(self) -> None:
        for _ in range(3):
            await self.rig.send(ANN, BOB)
        await self.send()
        prefix = self.rig.store.keys.webhook_sent_notices(self.webhook_id)
        first = (await self.rig.store.client.range(prefix, range_end(prefix), limit=1)).kvs[0]
        self.event_id = self.rig.store.keys.last_part(first.key)

    async def replay(self) -> None:
        assert await replay_ids(self.rig.store, self.webhook_id, [self.event_id])

    async def send(self) -> None:
        """A worker sends all that is ready."""
        store = self.rig.store
        lease_id = await lease(self.rig)
        taken = await take(store, self.webhook_id, worker_id="w1", lease_id=lease_id)
        assert taken is not None
        outcomes = [
            Outcome(one, msgspec.structs.replace(codec.decode_notice(one.value), state="sent"))
            for one in (await read_ready(store, self.webhook_id, 100)).notices
        ]
        assert await finish_notices(store, self.webhook_id, taken.token, outcomes)
        await give_back(store, self.webhook_id, taken.token)

    async def erase(self, *steps: tuple[Callable[[Place], bool], Any]) -> int:
        """Erases page by page. Before the first page of which a step says so, the step is done.

        Returns how many could not be erased yet.
        """
        place: Place | None = Place()
        left, under_way = list(steps), 0
        while place is not None:
            if left and left[0][0](place):
                await left.pop(0)[1]()
            report = await erase(self.rig, place=place_of(place.cursor), seconds=0)
            place, under_way = report.next, under_way + report.under_way
        assert not left
        return under_way


@pytest.fixture
async def sent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Sent:
    monkeypatch.setattr(search, "_NOTICES", 1)
    sent = Sent(rig, (await new_webhook(rig.store)).id)
    await sent.begin()
    return sent


@pytest.mark.parametrize("phase", ["notices-due", "notices-sent"])
async def test_notice_that_a_replay_moves_back_amid_an_erasure_is_erased(
    rig: Rig, sent: Sent, phase: str
) -> None:
    assert await sent.erase((lambda place: place.phase == phase, sent.replay)) == 0
    assert await naming(rig.store) == []
    await check_invariants(rig.store)


async def test_notice_that_is_sent_again_where_an_erasure_has_read_already_is_erased(
    rig: Rig, sent: Sent
) -> None:
    steps = (
        (lambda place: place.phase == "notices-due", sent.replay),
        (lambda place: place.phase == "notices-sent" and place.at != b"", sent.send),
    )
    assert await sent.erase(*steps) == 0
    assert await naming(rig.store) == []


async def test_notice_that_moves_after_the_last_look_is_under_way(rig: Rig, sent: Sent) -> None:
    steps = (
        (lambda place: place.phase == "notices-due", sent.replay),
        (lambda place: place.revision > 0, sent.send),
    )
    assert await sent.erase(*steps) == 1
    assert await sent.erase() == 0
    assert await naming(rig.store) == []


async def test_erasure_looks_again_where_etcd_has_dropped_the_history_that_it_reads(
    rig: Rig, sent: Sent
) -> None:
    steps: list[Any] = [
        (lambda place: place.phase == "notices-due", sent.replay),
        (lambda place: place.revision > 0, lambda: compacted(rig)),
    ]
    assert await sent.erase(*steps) == 0
    assert await naming(rig.store) == []


async def test_erasure_that_never_gets_a_whole_look_says_so_and_ends(rig: Rig, sent: Sent) -> None:
    looks = search.MOST_LOOKS
    steps: list[Any] = [(lambda place: place.revision > 0, lambda: compacted(rig))] * looks
    assert await sent.erase(*steps) == 1
    assert await sent.erase() == 0
    await rig.suppress(BOB)
    for times, complete in ((looks, False), (looks - 1, True)):
        *_, suppression, end = await exported(rig, times)
        assert suppression["address"] == BOB
        counts = {"emails": 3, "events": 3, "suppressions": 1}
        assert end == {"kind": "end", "complete": complete, **counts}


async def test_look_after_one_that_was_cut_short_reads_what_is_new_since_or_was_not_reached(
    rig: Rig, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_KEYS", 1)
    for _ in range(2):
        await rig.send(ANN, BOB)
    searching = Search(rig.store, ANN)
    place = Place("notices", b"", 1, await current_revision(rig.store), 1)
    seen: list[bytes] = []
    while len(seen) < 3:
        page = await searching._page(place_of(place.cursor))
        assert page.next is not None
        place, seen = page.next, seen + [hit.kv.key for hit in page.hits]
    assert [hit.startswith(rig.store.keys.notices) for hit in seen] == [True, True, False]
    sending = rig.store.keys.webhook_sent_notices(sent.webhook_id)
    others = {kv.key for kv in (await rig.store.client.range(sending, range_end(sending))).kvs}
    await sent.replay()
    notices = (await read_ready(rig.store, sent.webhook_id, 100)).notices
    (replayed,) = (one.key for one in notices if one.event_id == sent.event_id)
    await compacted(rig)
    again = [hit.kv.key async for page in searching.pages(place) for hit in page.hits]
    assert set(again) == {replayed, *others - set(seen)} and len(again) == 3


@pytest.mark.parametrize(("since", "revision"), [(1, 1 << 40), (1 << 40, 1 << 40), (1 << 40, 0)])
async def test_erasure_goes_on_from_a_place_of_before_a_restore(
    rig: Rig, sent: Sent, since: int, revision: int
) -> None:
    """etcd's revisions are smaller then than those of the place."""
    place = Place("notices-sent", b"\xff", since, revision, 1)
    report = await erase(rig, place=place_of(place.cursor))
    assert (report.notices, report.under_way, report.next) == (3, 0, None)


async def exported(rig: Rig, times: int) -> list[dict[str, Any]]:
    """An export, during which etcd drops its history so often."""
    look, left = Search._second_look, times

    async def dropped(search: Search, place: Place) -> Any:
        nonlocal left
        if left:
            left -= 1
            await compacted(rig)
        return await look(search, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Search, "_second_look", dropped)
        return [line async for line in export(rig.store, BOB)]


async def test_event_that_moves_while_it_is_exported_is_one_line(rig: Rig, sent: Sent) -> None:
    await sent.replay()
    lines: list[Any] = []
    async for line in export(rig.store, ANN):
        if line["kind"] == "event" and not lines:
            await sent.send()
        lines += [line] if line["kind"] in ("event", "end") else []
    assert len(lines) == 4 and lines[-1]["events"] == 3


async def compacted(rig: Rig) -> None:
    """etcd drops all of its history."""
    revision = await rig.store.client.put(rig.store.keys.prefix + b"any", b"")
    await rig.store.client.delete(rig.store.keys.prefix + b"any")
    await rig.store.client.compact(revision, timeout=PATIENCE)


async def test_worker_whose_notice_was_given_up_does_not_write_the_address_back(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    await rig.send(ANN, BOB)
    taken = await take(rig.store, webhook.id, worker_id="w1", lease_id=await lease(rig))
    assert taken is not None
    (stored,) = (await read_ready(rig.store, webhook.id, 10)).notices
    small = Fullness(rig.store.client, 1000)
    compaction = Compaction(rig.store.client, small, rig.store.keys.cluster)
    assert await WaitingNotices(rig.store, small, compaction).give_up(1000, 0.9) > 0
    assert (await erase(rig)).notices == 1
    sent = Outcome(stored, codec.decode_notice(stored.value))
    assert not await finish_notices(rig.store, webhook.id, taken.token, [sent])
    assert await naming(rig.store) == []


@pytest.mark.parametrize("reason", [SHORT_OF_ROOM, SWITCHED_OFF, "no connection within 10 s"])
async def test_erasure_takes_a_webhook_for_failed_notices_that_may_be_in_memory_only(
    rig: Rig, reason: str
) -> None:
    webhook = await new_webhook(rig.store)
    await rig.send(ANN, BOB)
    taken = await take(rig.store, webhook.id, worker_id="w1", lease_id=await lease(rig))
    assert taken is not None
    (stored,) = (await read_ready(rig.store, webhook.id, 10)).notices
    notice = codec.decode_notice(stored.value)
    failed = Outcome(stored, notice.given_up(reason, utc_now()))
    assert await finish_notices(rig.store, webhook.id, taken.token, [failed])
    assert (await erase(rig)).notices == 1
    sent = Outcome(stored, notice)
    still = await finish_notices(rig.store, webhook.id, taken.token, [], WebhookHealth())
    assert still == (reason not in (SHORT_OF_ROOM, SWITCHED_OFF))
    if not still:
        assert not await finish_notices(rig.store, webhook.id, taken.token, [sent])
    assert await naming(rig.store) == []


async def test_worker_that_has_notices_in_memory_does_not_write_the_address_back(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    await rig.send(ANN, BOB)
    taken = await take(rig.store, webhook.id, worker_id="w1", lease_id=await lease(rig))
    assert taken is not None
    (stored,) = (await read_ready(rig.store, webhook.id, 10)).notices
    assert (await erase(rig)).notices == 1
    sent = Outcome(stored, codec.decode_notice(stored.value))
    assert not await finish_notices(rig.store, webhook.id, taken.token, [sent])
    assert await naming(rig.store) == []
    again = await take(rig.store, webhook.id, worker_id="w1", lease_id=await lease(rig))
    assert again is not None
    accepted, cancelled = await ready(rig.store, webhook)
    assert {r.email for r in accepted.data.recipients} == {MARK, BOB}
    assert [r.email for r in cancelled.data.recipients] == [MARK]
