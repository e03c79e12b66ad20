"""Batches from the call to the mail server: each e-mail is sent once, even if the API dies."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import aiohttp
import pytest

from babygun.store.keys import range_end
from tests.support.invariants import check_invariants
from tests.support.processes import Api, api_process
from tests.support.rig import Rig, changed
from tests.support.smtp_server import MisbehavingServer


async def post(api: Api, batch: list[dict[str, Any]], key: str) -> list[str]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    async with api.session.post(
        api.url + "/emails/batch", data=io.BytesIO(json.dumps(batch).encode()), headers=headers
    ) as answer:
        assert answer.status == 202, await answer.text()
        return [result["id"] for result in (await answer.json())["results"]]


async def test_batch_whose_api_is_killed_is_completed_by_another_and_delivered_once(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    total = 400
    batch = [
        {
            "sender": "me@example.com",
            "to": f"r{n}@example.org",
            "subject": f"number {n}",
            "body": "x" * 4000,
        }
        for n in range(total)
    ]
    first_part = rig.store.keys.idempotencies
    async with api_process(rig.store, rig.settings, dies_after=first_part) as api:
        token = api.session.headers["Authorization"]
        with pytest.raises(aiohttp.ClientError):
            await post(api, batch, "k")
        await api.process.ended()
    found = await rig.store.client.range(
        rig.store.keys.emails, range_end(rig.store.keys.emails), keys_only=True
    )
    assert 0 < len(found.kvs) <= total and len(found.kvs) % 100 == 0
    half = {rig.store.keys.email_id(kv.key) for kv in found.kvs}
    async with (
        api_process(rig.store, changed(rig.settings, log_level="info")) as api,
        rig.worker_process(log_level="warning"),
    ):
        # What was stored is on its way, whether or not anybody repeats the call.
        await smtp.wait_for(len(half), within=60)
        api.session.headers["Authorization"] = token
        ids = await post(api, batch, "k")
        assert half <= set(ids) and len(set(ids)) == total
        await smtp.wait_for(total, within=60)
        assert {email.status for email in await rig.ended(*ids, within=60)} == {"complete"}
        assert await post(api, batch, "k") == ids
    assert Counter(m.recipients for m in smtp.messages) == {
        (f"r{n}@example.org",): 1 for n in range(total)
    }
    assert set((await check_invariants(rig.store)).emails) == set(ids)
