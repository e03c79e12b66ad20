"""Domain alarms in etcd: written once an hour, and gone with their domain."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from babygun.email.domain_alarms import KEPT, REPEATED, DomainAlarm
from babygun.errors import LeaseNotFound
from babygun.etcd import put
from babygun.etcd.txn import Txn
from babygun.store import Store, codec
from babygun.store.domains.alarms import KnownAlarms, list_alarms, raise_alarm
from babygun.store.domains.change import delete_domain
from babygun.store.keys import range_end
from tests.store.domains.steps import NAME
from tests.support.signatures import signing_domain


async def refusal(store: Store, text: str = "SPF did not pass") -> DomainAlarm | None:
    return await raise_alarm(
        store, NAME, "spf", site="mx:google", code=421, enhanced_code="4.7.27", text=text
    )


async def test_refusal_is_written_once_an_hour_with_the_time_of_the_first_one(
    store: Store,
) -> None:
    await signing_domain(store, NAME)
    first = await refusal(store, "me@example.com: SPF did not pass")
    assert first is not None and first.text == "… SPF did not pass", "it names no address"
    assert first.until == first.at + KEPT
    assert await refusal(store) is None

    key = store.keys.domain_alarm(NAME, "spf")
    kept = await store.client.get(key)
    assert kept is not None and kept.lease
    earlier = replace(first, at=first.at - REPEATED, since=first.since - timedelta(hours=5))
    await store.client.txn(Txn([], [put(key, codec.encode_state(earlier), kept.lease)]))
    later = await refusal(store, "again")
    assert later is not None and (later.since, later.text) == (earlier.since, "again")
    now = await store.client.get(key)
    assert now is not None and now.lease not in (0, kept.lease)
    with pytest.raises(LeaseNotFound):  # no empty lease is left
        await store.client.granted(kept.lease)


async def test_domain_that_is_gone_has_no_alarm(store: Store) -> None:
    assert await refusal(store) is None
    await signing_domain(store, NAME)
    await signing_domain(store, f"a.{NAME}")
    assert await refusal(store) is not None
    await delete_domain(store, f"a.{NAME}")
    assert len(await list_alarms(store, NAME)) == 1, "that of another domain stays"
    await delete_domain(store, NAME)
    prefix = store.keys.domain_alarms
    assert not (await store.client.range(prefix, range_end(prefix))).kvs


async def test_known_alarms_are_those_of_etcd(store: Store) -> None:
    await signing_domain(store, NAME)
    alarm = await refusal(store)
    known = KnownAlarms(store)
    await known.read()
    [one] = known.of(NAME)
    assert alarm is not None and (one.domain, one.cause, one.at) == (NAME, "spf", alarm.at)
    assert not known.of("other.example")
