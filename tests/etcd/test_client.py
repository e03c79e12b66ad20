"""Requests: keys, leases, errors by their types, and an etcd that is away, silent or full."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from babygun.errors import (
    Compacted,
    EtcdError,
    EtcdUnavailable,
    FutureRevision,
    LeaseNotFound,
    OutcomeUnknown,
    OutOfSpace,
    SettingsError,
)
from babygun.etcd import (
    EtcdClient,
    Status,
    Txn,
    absent,
    created_at,
    delete,
    get,
    get_range,
    keep,
    modified_at,
    present,
    put,
    range_absent,
)
from tests.etcd.conftest import OwnEtcd
from tests.support.etcd_server import EtcdServer, free_ports
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to


async def test_key_put_and_deleted_reads_back_as_such(etcd: EtcdClient, etcd_prefix: str) -> None:
    key = etcd_prefix.encode() + b"k"
    first = await etcd.put(key, b"one")
    second = await etcd.put(key, b"two")
    found = await etcd.get(key)
    assert found == (key, b"two", first, second, 2, 0)
    old = await etcd.get(key, revision=first)
    assert old is not None and old.value == b"one"
    assert await etcd.delete(key) == 1
    assert await etcd.delete(key) == 0
    assert await etcd.get(key) is None


async def test_range_with_a_limit_says_that_there_is_more_in_either_order(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    for n in range(5):
        await etcd.put(p + b"r/%d" % n, b"v")
    page = await etcd.range(p + b"r/", p + b"r0", limit=2)
    assert ([kv.key for kv in page.kvs], page.more, page.count) == (
        [p + b"r/0", p + b"r/1"],
        True,
        5,
    )
    page = await etcd.range(p + b"r/", p + b"r0", limit=1, keys_only=True)
    assert ([kv.key for kv in page.kvs], page.more) == ([p + b"r/0"], True)
    assert page.kvs[0].value == b""
    assert not (await etcd.range(p + b"r/3", p + b"r0", limit=2)).more


async def test_txn_takes_the_branch_that_its_compares_say(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    made = await etcd.txn(
        Txn(
            [absent(p + b"a"), range_absent(p + b"x/", p + b"x0")],
            [put(p + b"a", b"1"), put(p + b"b", b"2")],
        )
    )
    assert made.succeeded
    refused = await etcd.txn(
        Txn(
            [absent(p + b"a")],
            [put(p + b"a", b"3")],
            [get(p + b"a"), get_range(p, p + b"z", limit=1)],
        )
    )
    assert not refused.succeeded
    assert [kv.value for kv in refused.kvs(0)] == [b"1"]
    assert refused.more(1)
    assert (
        await etcd.txn(
            Txn(
                [
                    present(p + b"a"),
                    created_at(p + b"a", made.revision),
                    modified_at(p + b"a", made.revision),
                ],
                [delete(p + b"a")],
            )
        )
    ).succeeded
    assert not (await etcd.txn(Txn([present(p + b"a")], []))).succeeded
    assert not (await etcd.txn(Txn([range_absent(p, p + b"z")], []))).succeeded


async def test_keep_moves_a_key_on_and_off_a_lease_without_its_value(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    key = etcd_prefix.encode() + b"k"
    lease = await etcd.grant(60)
    await etcd.put(key, b"value")
    await etcd.txn(Txn([], [keep(key, lease)]))
    found = await etcd.get(key)
    assert found is not None and (found.value, found.lease) == (b"value", lease)
    await etcd.txn(Txn([], [keep(key, 0)]))
    await etcd.revoke(lease)
    found = await etcd.get(key)
    assert found is not None and (found.value, found.lease) == (b"value", 0)


async def test_lease_revoked_takes_its_keys_along_and_is_not_found_any_more(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    key = etcd_prefix.encode() + b"k"
    lease = await etcd.grant(60)
    await etcd.put(key, b"", lease)
    assert await etcd.keep_alive(lease) == 60
    await etcd.revoke(lease)
    await etcd.revoke(lease)
    assert await etcd.get(key) is None
    for call in (etcd.keep_alive(lease), etcd.put(key, b"", lease)):
        with pytest.raises(LeaseNotFound):
            await call


async def test_request_that_etcd_can_not_carry_out_raises_its_reason(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    key = etcd_prefix.encode() + b"k"
    with pytest.raises(EtcdError, match="key not found"):
        await etcd.txn(Txn([], [keep(key, 0)]))
    with pytest.raises(EtcdError, match="duplicate key"):
        await etcd.txn(Txn([], [put(key, b"1"), put(key, b"2")]))
    # etcd's limit, and its gRPC's.
    for mebibytes, reason in ((1.75, "request is too large"), (3, "larger than max")):
        with pytest.raises(EtcdError, match=reason) as refused:
            await etcd.put(key, bytes(int(mebibytes * (1 << 20))))
        assert refused.type is EtcdError
    with pytest.raises(FutureRevision):
        await etcd.get(key, revision=1 << 40)


async def test_answer_larger_than_grpc_takes_by_default_arrives(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    for n in range(6):
        await etcd.put(p + b"%d" % n, bytes(1 << 20))
    assert sum(len(kv.value) for kv in (await etcd.range(p, p + b"z")).kvs) == 6 << 20


async def test_status_and_alarms_describe_the_server(server: EtcdServer) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with EtcdClient([server.endpoint, dead]) as client:
        status = await client.status()
        assert status.endpoint == server.endpoint
        assert status.version.count(".") == 2
        assert status.leader and not status.errors and not status.is_learner
        assert 0 < status.db_size_in_use <= status.db_size
        if tuple(map(int, status.version.split(".")[:2])) >= (3, 6):
            assert status.quota == 2 << 30
        statuses = await client.statuses(timeout=8)  # the dead one takes all of it
        # A commit in between may have changed its size.
        assert isinstance(same := statuses[server.endpoint], Status)
        assert status == same._replace(db_size=status.db_size, db_size_in_use=status.db_size_in_use)
        assert isinstance(statuses[dead], EtcdUnavailable)
        assert await client.alarms() == []


async def test_read_at_a_compacted_revision_raises_compacted(server: EtcdServer) -> None:
    async with EtcdClient([server.endpoint]) as client:
        first = await client.put(b"k", b"1")
        await client.compact(await client.put(b"k", b"2"), timeout=20)
        with pytest.raises(Compacted):
            await client.get(b"k", revision=first)


async def test_first_endpoint_dead_the_second_serves(server: EtcdServer) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with (
        EtcdClient([dead, server.endpoint], timeout=600) as client,
        asyncio.timeout(PATIENCE),
    ):
        await client.put(b"k", b"v")
        found = await client.get(b"k")
        assert found is not None and found.value == b"v"


async def test_endpoint_falls_silent_reads_go_to_the_other(own_etcd: OwnEtcd) -> None:
    servers = [own_etcd(), own_etcd()]
    async with EtcdClient([server.endpoint for server in servers]) as client:
        await client.put(b"k", b"v")
        used = (await client.status()).endpoint
        silent, other = sorted(servers, key=lambda server: server.endpoint != used)
        silent.pause()
        client.timeout = 12.0  # a half of it is for the silent one
        assert await client.get(b"k") is None  # the other one's answer: these two are no cluster
        with suppress(OutcomeUnknown):
            await client.put(b"k", b"v2")
        client.timeout = PATIENCE
        assert (await client.status()).endpoint == other.endpoint


async def test_etcd_not_there_raises_unavailable_with_the_reason_within_the_timeout() -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with EtcdClient([dead], timeout=2) as client, asyncio.timeout(PATIENCE):
        with pytest.raises(EtcdUnavailable, match="Connection refused"):
            await client.put(b"k", b"v")
        with pytest.raises(EtcdUnavailable):
            await client.get(b"k")
    with pytest.raises(EtcdUnavailable, match="closed"):
        await client.get(b"k")


async def test_etcd_comes_up_while_a_write_waits_the_write_goes_through(server: EtcdServer) -> None:
    async with EtcdClient([server.endpoint], timeout=90) as client:
        await client.put(b"k", b"1")
        server.kill()
        waiting = asyncio.create_task(client.put(b"k", b"2"))
        await asyncio.to_thread(server.start)
        try:
            await waiting
        except OutcomeUnknown:  # the kill was not noticed before it was sent
            await client.put(b"k", b"2")
        found = await client.get(b"k")
        assert found is not None and found.value == b"2"


async def test_silent_etcd_a_write_has_an_unknown_outcome_and_a_read_is_unavailable(
    server: EtcdServer,
) -> None:
    async with EtcdClient([server.endpoint]) as client:
        await client.put(b"k", b"1")
        server.pause()
        client.timeout = 3.0
        with pytest.raises(OutcomeUnknown):
            await client.put(b"k", b"2")
        with pytest.raises(EtcdUnavailable):
            await client.get(b"k")
        client.timeout = PATIENCE
        server.resume()
        await client.put(b"k", b"3")


async def test_etcd_killed_under_a_write_has_an_unknown_outcome(server: EtcdServer) -> None:
    async with (
        proxy_to(server.endpoint) as proxy,
        EtcdClient([server.endpoint]) as direct,
        EtcdClient([proxy.url]) as client,
    ):
        await client.put(b"k", b"1")
        proxy.swallow_answers()
        writing = asyncio.create_task(client.put(b"k", b"2"))
        await written(direct, b"k", b"2")
        server.kill()
        proxy.cut()
        with pytest.raises(OutcomeUnknown):
            await writing


async def written(client: EtcdClient, key: bytes, value: bytes) -> None:
    """Waits until etcd has done what somebody else asks of it."""
    async with asyncio.timeout(PATIENCE):
        while (found := await client.get(key)) is None or found.value != value:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_client_closed_under_a_request_the_request_fails_as_one_whose_answer_is_lost(
    server: EtcdServer,
) -> None:
    async with proxy_to(server.endpoint) as proxy, EtcdClient([server.endpoint]) as direct:
        client = EtcdClient([proxy.url])
        await client.start()
        await client.put(b"k", b"1")
        proxy.swallow_answers()
        reading = asyncio.create_task(client.get(b"k"))
        writing = asyncio.create_task(client.put(b"k", b"2"))
        await written(direct, b"k", b"2")
        await client.close()
        with pytest.raises(OutcomeUnknown):
            await writing
        with pytest.raises(EtcdUnavailable):
            await reading


async def test_caller_cancelled_is_cancelled_at_once(server: EtcdServer) -> None:
    async with EtcdClient([server.endpoint], timeout=600) as client, asyncio.timeout(PATIENCE):
        await client.put(b"k", b"1")
        server.pause()
        for call in (client.put(b"k", b"2"), client.get(b"k")):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await call


async def test_full_etcd_raises_out_of_space_and_an_alarm_but_goes_on_reading_and_deleting(
    own_etcd: OwnEtcd,
) -> None:
    server = own_etcd("--quota-backend-bytes=4000000")
    async with EtcdClient([server.endpoint]) as client:
        with pytest.raises(OutOfSpace):
            # etcd looks at its size only when it commits, every 100 ms: a quick machine writes
            # far more than the quota until then.
            for n in range(1000):
                await client.put(b"k%d" % n, bytes(1 << 20))
        assert await client.alarms() == ["NOSPACE"]
        assert await client.get(b"k0") is not None
        assert await client.delete(b"k0") == 1


@pytest.mark.parametrize(
    "endpoint", ["ftp://127.0.0.1:2379", "http://", "http://127.0.0.1:99999", "http://[::1"]
)
async def test_endpoint_of_another_form_is_a_settings_error(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="endpoint"):
        await EtcdClient([endpoint]).start()


async def test_certificate_file_missing_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="no-such-file"):
        await EtcdClient(["https://127.0.0.1:1"], ca="no-such-file").start()
