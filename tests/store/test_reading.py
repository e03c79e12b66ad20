"""Listing and reading: newest first, filters, cursors, and how many keys a page reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from babygun import codec
from babygun.clock import utc_now
from babygun.etcd import Txn, put
from babygun.ids import new_email_id
from babygun.keys import JobRef
from babygun.lifecycle import QueueResult, RecipientResult
from babygun.model import Client
from babygun.store import reading
from babygun.store.clients import create_client, delete_client, ensure_signing_key, get_client, list_clients, revoke_token, verify_secret
from babygun.store.directory import Directory
from babygun.store.health import check
from babygun.store.reading import get_email, get_log, list_emails
from babygun.store.transitions import Held, claim, finish
from tests.rig import Rig, changed, rig_for


async def put_emails(rig: Rig, times_ms: Iterable[float], *, client_ids: tuple[str, ...] = ("client",), tags: tuple[str, ...] = ()) -> list[str]:
    """Records as of these times, oldest first, without going through an accept: thousands of them, quickly."""
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
        page = await list_emails(rig.store, client_id=None, limit=limit, cursor=cursor)
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
        pytest.param([*(NOW_MS - 9e9 + n / 5 for n in range(200)), *(NOW_MS - n for n in range(50, 0, -1))], id="two bursts, months apart"),
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


async def test_listing_of_a_full_store_reads_a_bounded_number_of_keys(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await put_emails(rig, (NOW_MS - n * 3 for n in range(5000)))
    read = 0
    original = rig.store.client.range

    async def counting(*args: object, **kwargs: object) -> object:
        nonlocal read
        found = await original(*args, **kwargs)  # type: ignore[arg-type]
        read += len(found.kvs)
        return found

    monkeypatch.setattr(rig.store.client, "range", counting)
    page = await list_emails(rig.store, client_id=None, limit=20)
    assert len(page.emails) == 20 and read < 200
    read = 0
    page = await list_emails(rig.store, client_id="nobody", limit=20)
    assert not page.emails and page.cursor and read < 2 * reading.SCAN_KEYS


async def test_listing_filters_by_client_status_and_tag(rig: Rig) -> None:
    theirs = await put_emails(rig, (NOW_MS - 5000 + n for n in range(100)), client_ids=("a", "b"))
    tagged = await put_emails(rig, [NOW_MS], client_ids=("a",), tags=("news",))
    page = await list_emails(rig.store, client_id="a", limit=100)
    assert [e.id for e in page.emails] == [*tagged, *sorted(theirs[::2], reverse=True)]
    assert [e.id for e in (await list_emails(rig.store, client_id=None, limit=10, tag="news")).emails] == tagged
    assert not (await list_emails(rig.store, client_id=None, limit=10, status="complete")).emails


async def test_listing_of_failed_emails_goes_by_their_index(rig: Rig) -> None:
    lease = await rig.store.client.grant(60)
    ids = [await rig.send("ann@example.org") for _ in range(6)]
    for email_id in ids[::2]:
        got = await claim(rig.store, JobRef(email_id, "main"), worker_id="w", lease_id=lease, attempt=email_id)
        assert got
        result = QueueResult("main", "w", got.claimed_at, {"ann@example.org": RecipientResult("fail", "bad_mailbox", 550)})
        await finish(rig.store, [Held(got, result)])
    first = await list_emails(rig.store, client_id=None, limit=2, status="failed")
    second = await list_emails(rig.store, client_id=None, limit=2, status="failed", cursor=first.cursor)
    assert [e.id for e in (*first.emails, *second.emails)] == sorted(ids[::2], reverse=True) and second.cursor is None


@pytest.mark.parametrize("email_id", ["", "x", "../emails", "01a21000-1b9b-7058-a863-be5a676c7d85"])
async def test_reading_an_email_that_is_not_there_gives_none(rig: Rig, email_id: str) -> None:
    assert await get_email(rig.store, email_id) is None and await get_log(rig.store, email_id) is None


async def test_reading_tells_who_is_sending(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await claim(rig.store, JobRef(email_id, "main"), worker_id="w9", lease_id=await rig.store.client.grant(60), attempt="a")
    view = await get_email(rig.store, email_id)
    assert view and view.owners["main"].worker_id == "w9" and view.content and view.content.body == "Hello\n"


async def test_client_secret_is_verified_and_never_stored(rig: Rig) -> None:
    client, secret = await create_client(rig.store, name="app", scopes=("emails:send",))
    stored = await rig.store.client.get(rig.store.keys.client(client.id))
    assert stored and secret.encode() not in stored.value
    known = await get_client(rig.store, client.id)
    assert known == client and verify_secret(client, secret)
    for wrong in ("", secret[:-1], secret + "0", "\ud800"):
        assert not verify_secret(client, wrong)
    assert [c.id for c in await list_clients(rig.store)] == [client.id]
    assert await delete_client(rig.store, client.id) and not await delete_client(rig.store, client.id)


async def test_signing_key_made_by_many_at_once_is_one(rig: Rig) -> None:
    await asyncio.gather(*(ensure_signing_key(rig.store) for _ in range(10)))
    assert (await rig.store.client.range(rig.store.keys.signing_keys, rig.store.keys.signing_keys + b"\xff")).count == 1


async def test_directory_follows_clients_keys_and_revocations(rig: Rig) -> None:
    directory, changed_ = Directory(rig.store), asyncio.Event()
    directory.on_change.append(changed_.set)
    task = asyncio.create_task(directory.run())
    try:
        await asyncio.wait_for(directory.ready.wait(), 5)
        client, _ = await create_client(rig.store, name="app", scopes=("admin",))
        await ensure_signing_key(rig.store)
        await revoke_token(rig.store, "t1", utc_now() + timedelta(seconds=5))
        async with asyncio.timeout(5):
            while not (client.id in directory.clients and directory.signing_key and "t1" in directory.revoked):
                changed_.clear()
                await changed_.wait()
            await rig.store.client.put(rig.store.keys.client("broken"), b"{")
            await delete_client(rig.store, client.id)
            while client.id in directory.clients:
                changed_.clear()
                await changed_.wait()
        assert directory.synced and "broken" not in directory.clients
        assert isinstance(client, Client)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_health_of_an_etcd_that_is_not_there_says_so(rig: Rig) -> None:
    assert (await check(rig.store)).ok
    async with rig_for(changed(rig.settings, etcd_endpoints=("http://127.0.0.1:1",), etcd_timeout=0.5)) as nowhere:
        health = await check(nowhere.store)
        assert not health.ok and "does not answer" in health.reasons[0]
