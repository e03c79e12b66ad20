"""Kept policies are refreshed daily, and deleted after their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from babygun.dns import Resolver
from babygun.etcd import EtcdClient
from babygun.routing.sts import StsPolicy
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.store import Store
from babygun.store.tls_policies.known import StoredPolicy, write
from babygun.tls_policies import refresh
from babygun.tls_policies.policies import StsPolicies
from babygun.tls_policies.refresh import Refresh, is_due
from tests.support.policy_host import PolicyHost, policy_host

OLD = StsPolicy("testing", ("old.a.example",), 604800)
NEW = StsPolicy("enforce", ("mx.a.example",), 86400)


def kept(now: datetime, *, fetched: float, until: float, used: float) -> StoredPolicy:
    """Times in hours from now."""
    return StoredPolicy(
        domain="a.example",
        id="a1",
        policy=OLD,
        fetched_at=now + timedelta(hours=fetched),
        until=now + timedelta(hours=until),
        used_at=now + timedelta(hours=used),
    )


@pytest.mark.parametrize(
    ("fetched", "until", "used", "due"),
    [
        (-25, 100, -1, True),
        (-23, 100, -1, False),
        (-25, -1, -1, False),  # it has ended
        (-25, 100, -31 * 24, False),  # nobody sends there any more
        (-5, 3, -1, True),  # half of its time has passed
        (-3, 5, -1, False),
        (-0.5, 0.1, -1, False),
    ],
)
def test_policy_is_due_after_a_day_of_use(
    fetched: float, until: float, used: float, due: bool
) -> None:
    now = utc_now()
    assert is_due(kept(now, fetched=fetched, until=until, used=used), now) is due


@pytest.fixture
async def host(settings: Settings, tmp_path: Path) -> AsyncIterator[PolicyHost]:
    async with policy_host(settings, tmp_path) as host:
        yield host


@pytest.fixture
async def store(host: PolicyHost) -> AsyncIterator[Store]:
    async with Store(host.settings) as store:
        yield store


@pytest.fixture
async def policies(host: PolicyHost, store: Store) -> AsyncIterator[StsPolicies]:
    """Without a watch: read what is kept by hand."""
    found = StsPolicies(store, Resolver(host.settings.resolvers, timeout=20.0))
    yield found
    await found.close()


async def refreshed(
    store: Store, policies: StsPolicies, before: StoredPolicy
) -> StoredPolicy | None:
    """What is kept after a round."""
    assert await write(store, before, None)
    await policies.known.read()
    await Refresh(store, policies).once()
    await policies.known.read()
    after = policies.known.by_name.get("a.example")
    return after.stored if after else None


async def test_due_policy_is_fetched_again_though_its_id_is_the_same(
    host: PolicyHost, store: Store, policies: StsPolicies
) -> None:
    before = kept(utc_now(), fetched=-25, until=100, used=-1)
    after = await refreshed(store, policies, before)
    assert after is not None
    assert (after.policy, after.id, after.used_at) == (NEW, "a1", before.used_at)
    assert after.fetched_at > before.fetched_at and after.until == after.fetched_at + timedelta(1)


@pytest.mark.parametrize("txt", [[], None])
async def test_policy_that_is_announced_no_more_is_left_to_its_end(
    host: PolicyHost, store: Store, policies: StsPolicies, txt: list[str] | None
) -> None:
    host.txt = txt
    before = kept(utc_now(), fetched=-25, until=100, used=-1)
    assert await refreshed(store, policies, before) == before
    assert host.asked == 0


async def test_policy_host_that_fails_is_asked_again_after_an_hour(
    host: PolicyHost, store: Store, policies: StsPolicies
) -> None:
    host.policy = "nothing"
    before = kept(utc_now(), fetched=-25, until=100, used=-1)
    assert await write(store, before, None)
    await policies.known.read()
    rounds = Refresh(store, policies)
    for _ in range(3):
        await rounds.once()
    assert host.asked == 1
    await policies.known.read()
    assert policies.known.by_name["a.example"].stored == before


async def test_policy_that_has_ended_is_deleted(
    host: PolicyHost, store: Store, policies: StsPolicies, etcd: EtcdClient
) -> None:
    before = kept(utc_now(), fetched=-25, until=-1, used=-1)
    assert await refreshed(store, policies, before) is None
    assert await etcd.get(store.keys.tls_policy("a.example")) is None
    assert host.asked == 0


async def test_only_a_worker_that_leads_refreshes(
    host: PolicyHost, store: Store, policies: StsPolicies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "_INTERVAL", 0.0)
    assert await write(store, kept(utc_now(), fetched=-25, until=100, used=-1), None)
    asked: asyncio.Queue[int] = asyncio.Queue()
    leading = False

    def leads() -> bool:
        asked.put_nowait(host.asked)
        return leading

    running = asyncio.create_task(refresh.run(store, policies, leads))
    await policies.known.complete.wait()
    for _ in range(3):
        assert await asked.get() == 0
    leading = True
    while policies.known.by_name["a.example"].stored.policy != NEW:
        await asked.get()
    await cancel_all(running)
