"""Which MTA-STS policy counts for a domain now: what DNS announces, and what is kept in etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from babygun.dns import Resolver, resolver
from babygun.routing.domain_policies import FoundSts
from babygun.routing.sts import StsPolicy
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.store import Store
from babygun.store.tls_policies.known import StoredPolicy, write
from babygun.tls_policies import policies
from babygun.tls_policies.policies import StsPolicies
from tests.support.policy_host import PolicyHost, policy_host

POLICY = StsPolicy("enforce", ("mx.a.example",), 86400)
OTHER = "version: STSv1\nmode: testing\nmx: mx2.a.example\nmax_age: 86400\n"


@pytest.fixture
async def host(settings: Settings, tmp_path: Path) -> AsyncIterator[PolicyHost]:
    async with policy_host(settings, tmp_path) as host:
        yield host


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS is asked each time."""
    for name in ("_SHORTEST", "_LONGEST", "_LONGEST_WITHOUT", "_FAILED"):
        monkeypatch.setattr(resolver, name, 0.0)


@asynccontextmanager
async def worker(host: PolicyHost) -> AsyncIterator[StsPolicies]:
    """What one worker knows of policies."""
    async with Store(host.settings) as store:
        found = StsPolicies(store, Resolver(host.settings.resolvers, timeout=20.0))
        running = asyncio.create_task(found.run())
        try:
            yield found
        finally:
            await found.close()
            await cancel_all(running)


def kept(**changes: object) -> StoredPolicy:
    now = utc_now()
    fields: dict[str, object] = {
        "domain": "a.example",
        "id": "a1",
        "policy": POLICY,
        "fetched_at": now,
        "until": now + timedelta(days=1),
        "used_at": now,
    }
    return StoredPolicy(**(fields | changes))  # type: ignore[arg-type]


async def put(host: PolicyHost, policy: StoredPolicy) -> None:
    async with Store(host.settings) as store:
        assert await write(store, policy, None)


async def test_domain_without_a_policy_costs_one_lookup(host: PolicyHost) -> None:
    host.txt = []
    async with worker(host) as found:
        for _ in range(50):
            assert await found.of("a.example") == FoundSts()
        assert found.resolver.asked == 1
    assert host.asked == 0


async def test_announced_policy_is_fetched_once_and_kept_for_all_workers(host: PolicyHost) -> None:
    async with worker(host) as found:
        first = await asyncio.gather(*(found.of("a.example") for _ in range(20)))
        assert set(first) == {FoundSts(POLICY)}
        assert await found.of("a.example") == FoundSts(POLICY)
    async with worker(host) as other:
        assert await other.of("a.example") == FoundSts(POLICY)
    assert host.asked == 1


async def test_other_id_leads_to_a_fetch(host: PolicyHost, forgetful: None) -> None:
    async with worker(host) as found:
        await found.of("a.example")
        host.policy = OTHER
        assert (await found.of("a.example")).policy == POLICY
        host.txt = ["v=STSv1; id=a2;"]
        policy = (await found.of("a.example")).policy
    assert policy is not None and policy.mode == "testing"
    assert host.asked == 2


@pytest.mark.parametrize("txt", [None, [], ["v=STSv1; id=a1", "v=STSv1; id=a2"]])
async def test_policy_counts_until_its_end_whatever_dns_says(
    host: PolicyHost, txt: list[str] | None
) -> None:
    await put(host, kept())
    host.txt = txt
    async with worker(host) as found:
        assert await found.of("a.example") == FoundSts(POLICY)
    assert host.asked == 0


async def test_policy_that_has_ended_counts_no_more(host: PolicyHost) -> None:
    await put(host, kept(until=utc_now() - timedelta(seconds=1)))
    host.txt = []
    async with worker(host) as found:
        assert await found.of("a.example") == FoundSts()


async def test_policy_that_has_ended_is_fetched_again(host: PolicyHost) -> None:
    await put(host, kept(until=utc_now() - timedelta(seconds=1)))
    async with worker(host) as found:
        assert await found.of("a.example") == FoundSts(POLICY)
    assert host.asked == 1


async def test_while_dns_is_silent_a_domain_without_a_kept_policy_has_none(
    host: PolicyHost,
) -> None:
    host.txt = None
    async with worker(host) as found:
        assert await found.of("a.example") == FoundSts()


async def test_failed_fetch_leaves_the_kept_policy_and_is_not_repeated_at_once(
    host: PolicyHost, forgetful: None
) -> None:
    await put(host, kept(id="a0"))

    async def gone(request: web.Request) -> web.Response:
        return web.Response(status=404)

    host.answer = gone
    async with worker(host) as found:
        for _ in range(3):
            policy, failure = await found.of("a.example")
            assert policy == POLICY
            assert failure is not None and failure.result_type == "sts-policy-fetch-error"
    assert host.asked == 1


async def test_failed_fetch_without_a_kept_policy_is_no_policy(host: PolicyHost) -> None:
    host.policy = "nothing"
    async with worker(host) as found:
        policy, failure = await found.of("a.example")
    assert policy is None
    assert failure is not None and failure.result_type == "sts-policy-invalid"


async def test_mail_waits_for_a_slow_policy_host_only_so_long(
    host: PolicyHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "PATIENCE", 0.05)
    go_on = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await go_on.wait()
        return web.Response(text=host.policy)

    host.answer = slow
    async with worker(host) as found:
        assert await found.of("a.example") == FoundSts()
        go_on.set()
        assert await found.renew("a.example", "a1", utc_now())  # the fetch has gone on
        assert await found.of("a.example") == FoundSts(POLICY)
    assert host.asked == 1


async def test_policy_of_mode_none_is_kept_too(host: PolicyHost, forgetful: None) -> None:
    host.policy = "version: STSv1\nmode: none\nmax_age: 86400\n"
    async with worker(host) as found:
        for _ in range(3):
            policy = (await found.of("a.example")).policy
            assert policy is not None and policy.mode == "none"
    assert host.asked == 1


async def test_policy_without_an_age_holds_for_minutes(host: PolicyHost, forgetful: None) -> None:
    host.policy = host.policy.replace("86400", "0")
    async with worker(host) as found:
        for _ in range(3):
            assert (await found.of("a.example")).policy is not None
    assert host.asked == 1


async def test_nothing_is_said_before_what_is_kept_was_read(host: PolicyHost) -> None:
    """Else a worker that has just started would send without the policy that etcd has."""
    await put(host, kept())
    host.txt = []
    async with Store(host.settings) as store:
        found = StsPolicies(store, Resolver(host.settings.resolvers))
        asking = asyncio.create_task(found.of("a.example"))
        await asyncio.wait([asking], timeout=0.05)
        assert not asking.done()
        running = asyncio.create_task(found.run())
        assert await asking == FoundSts(POLICY)
        await found.close()
        await cancel_all(running)


async def test_use_of_a_policy_is_written_once_a_week(host: PolicyHost) -> None:
    await put(host, kept(used_at=utc_now() - timedelta(days=8)))
    async with worker(host) as found:
        await asyncio.gather(*(found.of("a.example") for _ in range(5)))
        await asyncio.gather(*found.marking.values())
        marked = found.known.by_name["a.example"]
        assert utc_now() - marked.stored.used_at < timedelta(minutes=5)
        await found.of("a.example")
        assert not found.marking and found.known.by_name["a.example"] == marked
    assert host.asked == 0


async def test_key_that_somebody_wrote_by_hand_stops_nobody(host: PolicyHost) -> None:
    async with Store(host.settings) as store:
        await store.client.put(store.keys.tls_policy("a.example"), b"enforce")
    async with worker(host) as found:
        assert await found.of("a.example") == FoundSts(POLICY)
