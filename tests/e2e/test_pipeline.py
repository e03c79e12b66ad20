"""The whole way, each part in a process of its own: HTTP in, etcd between, SMTP out."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter

import aiohttp
import pytest

from babygun.store.keys import range_end
from tests.support.invariants import check_invariants
from tests.support.processes import api_process
from tests.support.rig import Rig, changed
from tests.support.smtp_server import MisbehavingServer


async def test_1000_small_emails_reach_as_many_recipients_once(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.chunking = True
    total = 1_000
    settings = changed(
        rig.settings,
        lease_ttl=10.0,
        relays={"main": {"url": smtp.url, "max_connections": 50}},
        log_level="warning",
    )
    async with (
        api_process(rig.store, changed(settings, log_level="info")) as api,
        rig.worker_process(lease_ttl=10.0, log_level="warning"),
    ):
        numbers = iter(range(total))
        ids: list[str] = []

        async def client() -> None:
            for n in numbers:
                ids.append((await api.post(to=f"r{n}@example.org", subject=f"number {n}"))["id"])

        await asyncio.gather(*(client() for _ in range(50)))
        await smtp.wait_for(total, within=60)
        emails = await rig.ended(*ids)
        assert {e.status for e in emails} == {"complete"} and len(set(ids)) == total
        assert Counter(m.recipients for m in smtp.messages) == {
            (f"r{n}@example.org",): 1 for n in range(total)
        }
        seen = await check_invariants(rig.store)
        assert len(seen.emails) == total and not seen.owners
        page = await api.get("/emails?limit=100")
        assert [e["id"] for e in page["emails"]] == sorted(ids, reverse=True)[:100]


async def test_api_killed_while_it_takes_a_large_email_in_leaves_no_chunk_behind(rig: Rig) -> None:
    settings = changed(rig.settings, upload_lease=8.0)
    async with api_process(rig.store, settings, dies_after=rig.store.keys.contents) as api:
        attachment = {
            "filename": "a.bin",
            "content": base64.b64encode(bytes(5_000_000)).decode(),
            "content_type": "application/octet-stream",
        }
        with pytest.raises(aiohttp.ClientError):
            await api.post(to="ann@example.org", attachments=[attachment])
        await api.process.ended()
    found = await rig.store.client.range(rig.store.keys.emails, range_end(rig.store.keys.emails))
    assert not found.kvs
    await rig.emptied(rig.store.keys.contents)
    assert not (await check_invariants(rig.store)).jobs


async def test_attachment_of_5_mb_goes_the_whole_way(rig: Rig, smtp: MisbehavingServer) -> None:
    data = bytes(range(256)) * 20_000
    async with api_process(rig.store, rig.settings) as api, rig.worker_process():
        attachment = {
            "filename": "a.bin",
            "content": base64.b64encode(data).decode(),
            "content_type": "application/octet-stream",
        }
        email_id = (await api.post(to="ann@example.org", attachments=[attachment]))["id"]
        [email] = await rig.ended(email_id)
        assert email.status == "complete" and base64.encodebytes(data)[:60] in smtp.messages[
            0
        ].data.replace(b"\r\n", b"\n")
        shown = await api.get(f"/emails/{email_id}")
        assert shown["status"] == "complete" and shown["attachments"][0]["filename"] == "a.bin"
