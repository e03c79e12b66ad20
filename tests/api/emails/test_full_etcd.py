"""An etcd that fills up: new e-mails are refused early, and accepted again when there is space."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from math import ceil

import pytest

from babygun.errors import OutOfSpace
from babygun.etcd import Txn, delete_range
from babygun.intake import quota_guard
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.audit.listing import Wanted, list_entries
from babygun.store.keys import range_end
from babygun.store.records import Scope
from babygun.store.upkeep import reserve
from babygun.worker import duties
from tests.support.api import RunningApi, running, until_ready
from tests.support.etcd_server import EtcdServer
from tests.support.processes import PATIENCE
from tests.support.rig import Rig
from tests.support.smtp_server import MisbehavingServer

QUOTA = 64 << 20
VALUE = 200 << 10
FILL = b"/fill/"


@pytest.fixture
def small_etcd() -> Iterator[EtcdServer]:
    with EtcdServer(f"--quota-backend-bytes={QUOTA}", fsync=False) as server:
        yield server


@pytest.fixture
async def small_store(small_etcd: EtcdServer) -> AsyncIterator[Store]:
    settings = Settings(
        etcd_endpoints=(small_etcd.endpoint,),
        etcd_quota=QUOTA,  # an etcd before 3.6 does not report its own
        relay_url="smtp://127.0.0.1:2525",
        require_domains=False,
        api_port=0,
        drain_timeout=1,
        etcd_timeout=20.0,
    )
    async with Store(settings) as store:
        yield store


async def fill(store: Store, share: float) -> None:
    """Puts so much that this share of the quota is in use, and little more. etcd counts it late."""
    for number in range(ceil(share * QUOTA / VALUE)):
        await store.client.put(FILL + b"%d" % number, bytes(VALUE))
    while (await store.client.status()).db_size_in_use < share * QUOTA:
        await store.client.put(FILL, b"")
        await asyncio.sleep(0.05)


async def until(status: int, call: Callable[[], Awaitable[int]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await call() != status:  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(0.05)


async def test_emails_are_refused_while_etcd_is_nearly_full_and_taken_when_it_has_space_again(
    small_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = small_store
    # Far from the quota: etcd goes by its file.
    monkeypatch.setattr(reserve, "LEAST", 0.7)
    async with running(store.settings, store) as api:
        await until_ready(api)
        scopes: tuple[Scope, ...] = ("emails:send", "emails:read", "suppressions", "webhooks")
        api.token = await api.token_for(*scopes)
        email_id = await api.accepted()
        ann = {"json": {"email": "ann@example.org"}}
        assert (await api.call("POST", "/suppressions", **ann)).status == 201
        hook = {"url": "https://shop.example.com/mail"}
        webhook = (await api.call("POST", "/webhooks", json=hook)).json["id"]
        await fill(store, 0.35)
        await until(503, lambda: ready(api))
        answer = await api.send()
        answer.problem(503, "out-of-space")
        tested = await api.call("POST", f"/webhooks/{webhook}/test")
        tested.problem(503, "out-of-space")
        assert int(answer.headers["Retry-After"]) > 0
        (await api.call("POST", "/suppressions", **ann)).problem(503, "out-of-space")
        file = {"data": b"bob@example.org\n", "content_type": "text/csv"}
        refused = await api.call("POST", "/suppressions/import", **file)
        assert refused.problem(503, "out-of-space")["next_line"] == 1
        assert (await api.call("DELETE", "/suppressions/ann@example.org")).status == 200
        assert (await api.call("DELETE", f"/webhooks/{webhook}")).status == 204
        assert (await api.call("POST", f"/emails/{email_id}/cancel")).status == 200
        assert len((await api.call("GET", "/emails")).json["emails"]) == 1
        gone = await store.client.txn(Txn([], [delete_range(FILL, range_end(FILL))]))
        await store.client.compact(gone.revision, timeout=20)
        await until(200, lambda: ready(api, store))
        await api.accepted()
        # The file is as large as before, and the next large write may not find room in it.
        monkeypatch.setattr(reserve, "_FILE_LEAST", 0.7)
        await until(503, lambda: ready(api))
        (await api.send()).problem(503, "out-of-space")


async def test_full_etcd_takes_no_email_and_lets_calls_delete_whose_audit_is_in_the_log(
    small_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store = small_store
    async with running(store.settings, store) as api:
        await until_ready(api)
        api.token = await api.token_for("admin")
        ann = {"email": "ann@example.org"}
        assert (await api.call("POST", "/suppressions", json=ann)).status == 201
        hook = {"url": "https://shop.example.com/mail"}
        webhook = f"/webhooks/{(await api.call('POST', '/webhooks', json=hook)).json['id']}"
        assert (await api.call("POST", f"{webhook}/test")).status == 202
        with pytest.raises(OutOfSpace):
            await fill(store, 2)
        answer = await api.send(attachments=[{"filename": "a", "content": "AAAA" * 400_000}])
        answer.problem(503, "out-of-space")
        for prefix in (store.keys.emails, store.keys.contents, store.keys.jobs, store.keys.logs):
            assert (await store.client.range(prefix, range_end(prefix))).count == 0
        hold = {"lasts": "1h", "reason": "a test"}
        held = await api.call("POST", "/sites/default/hold", json=hold)
        held.problem(503, "out-of-space")
        none = await api.call("DELETE", "/suppressions/bob@example.org")
        none.problem(404, "not-found")
        assert (await api.call("DELETE", "/suppressions/ann@example.org")).status == 200
        gone = await api.call("DELETE", webhook)
        assert "events are deleted" in gone.problem(503, "out-of-space")["detail"]
        assert (await api.call("GET", f"{webhook}/deliveries")).json["deliveries"] == []
        removals = Wanted(action="removeSuppression")
        assert (await list_entries(store, removals, limit=1)).entries == []
        said = [one.__dict__ for one in caplog.records if one.msg == "audit entry not written"]
        assert [(one["fields"]["action"], one["fields"]["outcome"]) for one in said] == [
            ("removeSuppression", "done"),
            ("deleteWebhook", "failed"),
        ]


async def test_small_etcd_full_of_large_emails_never_comes_to_its_alarm_and_drains(
    small_store: Store, smtp: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two API processes at full speed, bodies of 200 KB, and a relay that is down, then up."""
    monkeypatch.setattr(duties, "_UPKEEP_INTERVAL", 0.2)
    monkeypatch.setattr(quota_guard, "INTERVAL", 0.2)
    await smtp.stop()
    settings = replace(
        small_store.settings,
        relay_url=f"smtp://127.0.0.1:{smtp.port}",
        retry_intervals=(0.5,) * 200,
        lease_ttl=5.0,
    )
    rig, body = Rig(small_store, settings), "x" * 76 * 2630
    taken: list[str] = []

    async def send(api: RunningApi) -> None:
        refused = 0
        while refused < 6:
            answer = await api.send(body=body)
            if answer.status == 202:
                taken.append(answer.json["id"])
            else:
                answer.problem(503, "out-of-space")
                refused += 1
                await asyncio.sleep(0.3)

    async with running(settings, small_store) as one, running(settings, small_store) as two:
        await until_ready(one)
        await until_ready(two)
        one.token = two.token = await one.token_for()
        async with rig.worker(), asyncio.TaskGroup() as senders:
            for api in (one, two) * 4:
                senders.create_task(send(api))
        assert len(taken) > 50 and await small_store.client.alarms() == []
        await smtp.start()
        async with rig.worker():
            assert {email.status for email in await rig.ended(*taken, within=60)} == {"complete"}
        assert await small_store.client.alarms() == []


async def ready(api: RunningApi, store: Store | None = None) -> int:
    """The status of /readyz. ``store``: writes first; etcd counts its free pages only then."""
    if store:
        await store.client.put(b"/beat", b"")
    return (await api.call("GET", "/readyz", token="")).status
