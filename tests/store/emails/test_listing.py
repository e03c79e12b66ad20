"""The listing: newest first, filters, cursors, who is sending, and how many keys a page reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from babygun.email.addresses import comparable
from babygun.email.tries import QueueResult, RecipientResult
from babygun.etcd import Txn, put
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.emails import listing
from babygun.store.emails.acceptance import accept
from babygun.store.emails.claims import claim
from babygun.store.emails.finish import PendingResult, finish
from babygun.store.emails.listing import Filter, StatusFilter, list_emails
from babygun.store.emails.new_email import prepare
from babygun.store.keys import JobRef
from tests.support.rig import Rig


async def put_emails(
    rig: Rig,
    times_ms: Iterable[float],
    *,
    client_ids: tuple[str, ...] = ("client",),
    tags: tuple[str, ...] = (),
) -> list[str]:
    """Writes records of these times, oldest first, without an acceptance; returns their ids."""
    ops, ids = [], []
    for n, ms in enumerate(times_ms):
        email, _ = rig.email("ann@example.org")
        email_id = new_email_id(int(ms * 1_000_000))
        ids.append(email_id)
        record = replace(email, id=email_id, client_id=client_ids[n % len(client_ids)], tags=tags)
        ops.append(put(rig.store.keys.email(email_id), codec.encode_state(record)))
    await asyncio.gather(*(rig.store.batcher.submit(Txn([], [op])) for op in ops))
    return ids


async def page_through(rig: Rig, limit: int) -> tuple[list[str], int]:
    """All ids, and how many pages they took."""
    found: list[str] = []
    cursor, pages = None, 0
    while True:
        page = await list_emails(rig.store, limit=limit, cursor=cursor)
        pages += 1
        found += [e.id for e in page.emails]
        if page.cursor is None:
            return found, pages
        cursor = page.cursor


NOW_MS = 1_790_000_000_000.0


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([], id="none"),
        pytest.param([NOW_MS], id="one"),
        pytest.param([NOW_MS - 1000 * n for n in range(30, 0, -1)], id="one a second"),
        pytest.param([NOW_MS + n / 10 for n in range(300)], id="ten a millisecond"),
        pytest.param([NOW_MS] * 50, id="all in one instant"),
        pytest.param([NOW_MS - 86_400_000 * n**2 for n in range(20, 0, -1)], id="over a year"),
        pytest.param(
            [*(NOW_MS - 9e9 + n / 5 for n in range(200)), *(NOW_MS - n for n in range(50, 0, -1))],
            id="two bursts, months apart",
        ),
    ],
)
async def test_listing_pages_through_all_emails_newest_first(rig: Rig, times: list[float]) -> None:
    ids = await put_emails(rig, times)
    for limit in (1, 7, 100) if len(times) < 100 else (7, 100):
        found, pages = await page_through(rig, limit)
        assert found == sorted(ids, reverse=True)
        assert pages == max(1, -(-len(ids) // limit))


async def test_listing_includes_an_email_of_a_clock_that_is_ahead(rig: Rig) -> None:
    ids = await put_emails(rig, [utc_now().timestamp() * 1000 + 3_600_000])
    assert (await page_through(rig, 10))[0] == ids


@pytest.fixture
def reads(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many keys each read has given so far."""
    counts: list[int] = []
    original = rig.store.client.range

    async def counting(*args: object, **kwargs: object) -> object:
        found = await original(*args, **kwargs)  # type: ignore[arg-type]
        counts.append(len(found.kvs))
        return found

    monkeypatch.setattr(rig.store.client, "range", counting)
    return counts


async def test_listing_of_a_full_store_reads_a_bounded_number_of_keys(
    rig: Rig, reads: list[int]
) -> None:
    await put_emails(rig, (NOW_MS - n * 3 for n in range(5000)))
    reads.clear()
    page = await list_emails(rig.store, limit=20)
    assert len(page.emails) == 20 and sum(reads) < 200
    reads.clear()
    page = await list_emails(rig.store, limit=20, wanted=Filter(client_id="nobody"))
    assert not page.emails and page.cursor and sum(reads) < 2 * listing.SCAN_KEYS


async def test_listing_filters_by_client_status_and_tag(rig: Rig) -> None:
    theirs = await put_emails(rig, (NOW_MS - 5000 + n for n in range(100)), client_ids=("a", "b"))
    tagged = await put_emails(rig, [NOW_MS], client_ids=("a",), tags=("news",))
    page = await list_emails(rig.store, limit=100, wanted=Filter(client_id="a"))
    assert [e.id for e in page.emails] == [*tagged, *sorted(theirs[::2], reverse=True)]
    assert [
        e.id for e in (await list_emails(rig.store, limit=10, wanted=Filter(tags=("news",)))).emails
    ] == tagged
    assert not (await list_emails(rig.store, limit=10, wanted=Filter(status="complete"))).emails


async def test_listing_of_failed_emails_goes_by_their_index(rig: Rig) -> None:
    lease = await rig.store.client.grant(600)
    ids = [await rig.send("ann@example.org") for _ in range(6)]
    for email_id in ids[::2]:
        got = await claim(rig.store, JobRef(email_id, "main"), worker_id="w", lease_id=lease)
        assert got
        result = QueueResult(
            "main",
            "w",
            got.claimed_at,
            {"ann@example.org": RecipientResult("fail", "bad_mailbox", 550)},
        )
        await finish(rig.store, [PendingResult(got, result)])
    first = await list_emails(rig.store, limit=2, wanted=Filter(status="failed"))
    second = await list_emails(
        rig.store, limit=2, wanted=Filter(status="failed"), cursor=first.cursor
    )
    assert [e.id for e in (*first.emails, *second.emails)] == sorted(
        ids[::2], reverse=True
    ) and second.cursor is None


async def ids_of(rig: Rig, wanted: Filter, limit: int = 100) -> list[str]:
    """All that fit, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        page = await list_emails(rig.store, limit=limit, cursor=cursor, wanted=wanted)
        found += [email.id for email in page.emails]
        if page.cursor is None:
            return found
        cursor = page.cursor


def at(ms: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_listing_between_two_times_has_the_first_and_not_the_last_instant(
    rig: Rig, limit: int
) -> None:
    times = [NOW_MS + n * 7 for n in range(40)]
    ids = await put_emails(rig, times)
    newest = ids[::-1]
    assert await ids_of(rig, Filter(after=at(times[10])), limit) == newest[:30]
    assert await ids_of(rig, Filter(after=at(times[10] + 0.001)), limit) == newest[:29]
    assert await ids_of(rig, Filter(before=at(times[10])), limit) == newest[30:]
    assert await ids_of(rig, Filter(before=at(times[10] + 0.001)), limit) == newest[29:]
    assert (
        await ids_of(rig, Filter(after=at(times[10]), before=at(times[20])), limit) == newest[20:30]
    )
    assert await ids_of(rig, Filter(after=at(times[20]), before=at(times[10])), limit) == []
    assert (
        await ids_of(
            rig,
            Filter(after=datetime(1, 1, 1, tzinfo=UTC), before=datetime(9999, 12, 31, tzinfo=UTC)),
            limit,
        )
        == newest
    )


async def test_listing_of_an_old_hour_in_a_full_store_reads_that_hour_only(
    rig: Rig, reads: list[int]
) -> None:
    ids = await put_emails(rig, (NOW_MS - n * 1000 for n in range(5000, 0, -1)))
    reads.clear()
    page = await list_emails(
        rig.store,
        limit=50,
        wanted=Filter(
            client_id="client", after=at(NOW_MS - 4000_000), before=at(NOW_MS - 3970_000)
        ),
    )
    assert (
        [email.id for email in page.emails] == ids[1000:1030][::-1]
        and page.cursor is None
        and sum(reads) < 100
    )


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("ann@example.org", [0, 3]),
        ("ANN@Example.ORG", [0, 3]),
        ("bob@example.org", [3]),
        ("nn@example.org", []),
        ("@example.org", [0, 3]),
        ("@EXAMPLE.org", [0, 3]),
        ("@sub.example.org", [1]),
        ("@example", []),
        ("carl@bücher.example", [2]),
        ("Carl@xn--bcher-kva.example", [2]),
        ("@BÜCHER.example", [2]),
    ],
)
async def test_listing_by_recipient_finds_the_address_or_the_domain(
    rig: Rig, wanted: str, found: list[int]
) -> None:
    ids = [
        await rig.send("Ann@example.org"),
        await rig.send("ann@sub.example.org"),
        await rig.send("carl@bücher.example"),
        await rig.send("bob@example.org", "ann@example.org"),
    ]
    assert await ids_of(rig, Filter(recipients=(comparable(wanted),))) == [
        ids[n] for n in reversed(found)
    ]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(tags=("a", "b")), [1]),
        (Filter(recipients=("ann@example.org", "@example.net")), [0]),
        (Filter(subject=("spring", "strasse")), [1]),
        (Filter(sender="shop@example.com"), [0, 1]),
        (Filter(sender="@other.example"), []),
        (Filter(client="b"), [2]),
        (Filter(client="b", tags=("a",)), []),
    ],
)
async def test_listing_finds_what_fits_every_term(
    rig: Rig, wanted: Filter, found: list[int]
) -> None:
    shop = "shop@example.com"
    emails = [
        (rig.email("ann@example.org", "bob@example.net", sender=shop), "client", ("a",)),
        (rig.email("ann@example.org", sender=shop, subject="Spring STRASSE"), "client", ("b", "a")),
        (rig.email("cal@example.org", subject="Spring"), "b:1", ()),
    ]
    ids = []
    for (email, content), client_id, tags in emails:
        email = replace(email, client_id=client_id, tags=tags)
        await accept(rig.store, client_id, prepare(rig.store, email, content))
        ids.append(email.id)
    assert await ids_of(rig, wanted) == [ids[n] for n in reversed(found)]


@pytest.mark.parametrize("digits", [1, 8, 11, 13, 18, 36])
async def test_listing_by_the_beginning_of_an_id_reads_its_time_only(
    rig: Rig, reads: list[int], digits: int
) -> None:
    ids = await put_emails(rig, (NOW_MS - n * 100_000 for n in range(3000, 0, -1)))
    reads.clear()
    beginning = ids[1000][:digits]
    expected = [email_id for email_id in ids if email_id.startswith(beginning)][::-1]
    assert await ids_of(rig, Filter(beginning=beginning), 100) == expected
    assert digits < 11 or sum(reads) < 100


def is_sending(page: listing.Page) -> dict[str, list[str]]:
    return {email.id: sorted(page.owners.get(email.id, ())) for email in page.emails}


async def test_listing_shows_who_sends_and_finds_those_that_are_sent_or_wait(
    two_queues: Rig,
) -> None:
    rig = two_queues
    lease = await rig.store.client.grant(600)
    waits, both, one, over = [await rig.send("ann@a.example", "bob@b.example") for _ in range(4)]
    later = await rig.send("ann@a.example", send_at=utc_now() + timedelta(hours=1))

    async def take(email_id: str, queue: str) -> PendingResult:
        got = await claim(rig.store, JobRef(email_id, queue), worker_id="w", lease_id=lease)
        assert got
        address = "ann@a.example" if queue == "a" else "bob@b.example"
        return PendingResult(
            got,
            QueueResult(
                queue, "w", got.claimed_at, {address: RecipientResult("deliver", "success", 250)}
            ),
        )

    await take(both, "a")
    await take(both, "b")
    await take(one, "b")
    await finish(rig.store, [await take(over, "a"), await take(over, "b")])
    page = await list_emails(rig.store, limit=10)
    assert is_sending(page) == {later: [], over: [], one: ["b"], both: ["a", "b"], waits: []}
    assert page.owners[one]["b"].worker_id == "w"
    for status, ids in (
        ("sending", [one, both]),
        ("waiting", [later, waits]),
        ("incomplete", [later, one, both, waits]),
        ("complete", [over]),
    ):
        wanted: StatusFilter = status  # type: ignore[assignment]
        for limit in (1, 2, 10):
            assert await ids_of(rig, Filter(status=wanted), limit) == ids, status
    assert await ids_of(rig, Filter(status="sending", client_id="other")) == []
    assert is_sending(await list_emails(rig.store, limit=10, wanted=Filter(status="sending"))) == {
        one: ["b"],
        both: ["a", "b"],
    }


async def test_listing_of_what_is_sent_reads_no_others(rig: Rig, reads: list[int]) -> None:
    old = await rig.send("ann@example.org")
    assert await claim(
        rig.store,
        JobRef(old, "main"),
        worker_id="w",
        lease_id=await rig.store.client.grant(600),
    )
    await put_emails(rig, (utc_now().timestamp() * 1000 + n for n in range(2000)))
    reads.clear()
    page = await list_emails(rig.store, limit=20, wanted=Filter(status="sending"))
    assert [email.id for email in page.emails] == [old] and sum(reads) < 20


async def test_page_is_of_one_moment_whatever_happens_while_it_is_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await rig.send("ann@example.org") for _ in range(3)]
    lease = await rig.store.client.grant(600)
    original = rig.store.client.read

    async def late(*args: object, **kwargs: object) -> object:
        for email_id in ids:
            await claim(rig.store, JobRef(email_id, "main"), worker_id="w", lease_id=lease)
        return await original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.store.client, "read", late)
    assert is_sending(await list_emails(rig.store, limit=10)) == {key: [] for key in reversed(ids)}
    assert is_sending(await list_emails(rig.store, limit=10)) == {
        key: ["main"] for key in reversed(ids)
    }
