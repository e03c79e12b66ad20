"""TLS with client certificates, and etcd's own users and tokens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aetcd import rpc

from babygun.errors import EtcdUnavailable, OutcomeUnknown, PermissionDenied
from babygun.etcd import Batcher, EtcdClient, Txn, Watch, get, put
from babygun.etcd.versions import NESTED_RIGHTS
from tests.etcd.conftest import OwnEtcd
from tests.support.certificates import Authority
from tests.support.etcd_server import EtcdServer, etcd_version, needs_ability
from tests.support.paths import ROOT
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.tls_offers import is_strong, taken


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def tls_server(own_etcd: OwnEtcd, authority: Authority) -> EtcdServer:
    pem = authority.sign("server")
    return own_etcd(tls=(pem.cert, pem.key, authority.ca))


async def test_tls_with_a_client_certificate_of_the_right_ca_is_served(
    tls_server: EtcdServer, authority: Authority
) -> None:
    pem = authority.sign("client")
    async with EtcdClient(
        [tls_server.endpoint], ca=str(authority.ca), cert=str(pem.cert), key=str(pem.key)
    ) as client:
        since = await client.put(b"k", b"v")
        async with Watch(client, b"k", b"l", revision=since) as watching:
            assert [e.kv.value for e in (await anext(watching)).events] == [b"v"]


@pytest.mark.skipif(
    etcd_version().startswith("3.4."), reason="the file's options need a later etcd"
)
async def test_member_of_the_cluster_takes_no_old_version_of_tls_and_no_weak_cipher(
    own_etcd: OwnEtcd, authority: Authority
) -> None:
    settings = (ROOT / "etcd/cluster.env").read_text()
    flags = [
        f"--{name.lower().replace('_', '-')}={value}"
        for name, value in re.findall(r"^ETCD_(TLS_\w+|CIPHER_SUITES)=(.+)$", settings, re.M)
    ]
    pem, client = authority.sign("server"), authority.sign("client")
    server = own_etcd(*flags, tls=(pem.cert, pem.key, authority.ca))
    sessions = await asyncio.to_thread(taken, server.port, client)
    assert {version for version, _ in sessions} == {"TLSv1.2", "TLSv1.3"}
    assert not {session for session in sessions if not is_strong(*session)}


async def test_tls_without_a_client_certificate_is_unavailable(
    tls_server: EtcdServer, authority: Authority
) -> None:
    async with EtcdClient([tls_server.endpoint], ca=str(authority.ca), timeout=0.5) as client:
        with pytest.raises(EtcdUnavailable):
            await client.get(b"k")


async def test_server_signed_by_another_ca_is_unavailable_and_the_reason_says_why(
    tls_server: EtcdServer, authority: Authority, tmp_path: Path
) -> None:
    other, pem = Authority(tmp_path / "others"), authority.sign("client")
    async with EtcdClient(
        [tls_server.endpoint], ca=str(other.ca), cert=str(pem.cert), key=str(pem.key), timeout=3
    ) as client:
        with pytest.raises(EtcdUnavailable, match=r"(?i)certificate|handshake"):
            await client.get(b"k")


@pytest.fixture
async def guarded(own_etcd: OwnEtcd) -> AsyncIterator[EtcdServer]:
    """An etcd with the users ``root`` and ``sender``, who may read and write below ``mail/``.

    A token ends after three seconds without use.
    """
    server = own_etcd("--auth-token-ttl=3")
    async with EtcdClient([server.endpoint]) as client:
        await client.status()
        endpoint, call = await client.open_watch(rpc.WatchRequest())
        call.cancel()
        auth = rpc.AuthStub(endpoint.channel)
        for name in ("root", "sender"):
            await auth.UserAdd(
                rpc.AuthUserAddRequest(
                    name=name, password=f"{name}'s", options=rpc.UserAddOptions(no_password=False)
                ),
                timeout=PATIENCE,
            )
            await auth.RoleAdd(rpc.AuthRoleAddRequest(name=name), timeout=PATIENCE)
            await auth.UserGrantRole(
                rpc.AuthUserGrantRoleRequest(user=name, role=name), timeout=PATIENCE
            )
        permission = rpc.Permission(
            permType=rpc.Permission.READWRITE, key=b"mail/", range_end=b"mail0"
        )
        await auth.RoleGrantPermission(
            rpc.AuthRoleGrantPermissionRequest(name="sender", perm=permission), timeout=PATIENCE
        )
        await auth.AuthEnable(rpc.AuthEnableRequest(), timeout=PATIENCE)
        yield server


def sender(server: EtcdServer) -> EtcdClient:
    return EtcdClient([server.endpoint], user="sender", password="sender's")


async def test_user_may_do_what_its_role_grants_and_nothing_else(guarded: EtcdServer) -> None:
    async with sender(guarded) as client:
        await client.put(b"mail/k", b"v")
        found = await client.get(b"mail/k")
        assert found is not None and found.value == b"v"
        lease = await client.grant(60)
        assert await client.keep_alive(lease) == 60
        await client.revoke(lease)
        assert (await client.status()).leader
        for call in (
            client.put(b"other", b"v"),
            client.get(b"other"),
            client.txn(Txn([], [get(b"other")])),
        ):
            with pytest.raises(PermissionDenied):
                await call
        with pytest.raises(PermissionDenied):
            await anext(Watch(client, b"other", b"other0", revision=0))


@needs_ability(NESTED_RIGHTS)
async def test_batch_with_one_forbidden_transaction_serves_the_others(guarded: EtcdServer) -> None:
    async with sender(guarded) as client:
        batcher = Batcher(client)
        txns = [Txn([], [put(key, b"v")]) for key in (b"mail/1", b"other", b"mail/2")]
        results = await asyncio.gather(*map(batcher.submit, txns), return_exceptions=True)
        assert isinstance(results[1], PermissionDenied)
        assert await client.get(b"mail/1") and await client.get(b"mail/2")


async def test_token_expired_is_renewed_and_no_request_fails(guarded: EtcdServer) -> None:
    async with sender(guarded) as client:
        await client.put(b"mail/k", b"1")
        token = await client_token(client)
        await expired(guarded, token)
        results = await asyncio.gather(
            client.put(b"mail/k", b"2"), client.get(b"mail/k"), client.put(b"mail/l", b"3")
        )
        assert all(results)
        assert await client_token(client) != token


async def test_watch_cut_off_after_its_token_expired_goes_on_with_a_new_one(
    guarded: EtcdServer,
) -> None:
    async with (
        proxy_to(guarded.endpoint) as proxy,
        sender(guarded) as another,
        EtcdClient([proxy.url], user="sender", password="sender's") as client,
        Watch(client, b"mail/", b"mail0", revision=0) as watching,
    ):
        waiting = asyncio.create_task(anext(watching))
        await watching.created.wait()
        await expired(guarded, await client_token(client))
        proxy.cut()
        proxy.mend()
        await another.put(b"mail/k", b"v")
        assert [e.kv.key for e in (await asyncio.wait_for(waiting, PATIENCE)).events] == [b"mail/k"]


async def test_etcd_restarted_requests_of_users_go_on(guarded: EtcdServer) -> None:
    async with sender(guarded) as client:
        await client.put(b"mail/k", b"1")
        await asyncio.to_thread(guarded.restart)
        try:
            await client.put(b"mail/k", b"2")
        except OutcomeUnknown:  # the kill was not noticed before it was sent
            await client.put(b"mail/k", b"2")


@pytest.mark.parametrize(("user", "password"), [("sender", "guessed"), ("nobody", "x"), ("", "")])
async def test_wrong_password_or_none_is_permission_denied(
    guarded: EtcdServer, user: str, password: str
) -> None:
    async with EtcdClient([guarded.endpoint], user=user, password=password) as client:
        for call in (client.get(b"mail/k"), client.put(b"mail/k", b"v")):
            with pytest.raises(PermissionDenied):
                await call
        with pytest.raises(PermissionDenied):
            await anext(Watch(client, b"mail/", b"mail0", revision=0))


async def test_user_set_where_authentication_is_off_is_served(server: EtcdServer) -> None:
    async with sender(server) as client:
        await client.put(b"k", b"v")


async def client_token(client: EtcdClient) -> str:
    """The token that the client uses now."""
    endpoint, call = await client.open_watch(rpc.WatchRequest())
    call.cancel()
    metadata = await client._credentials.metadata(endpoint, 0)
    return dict(metadata)["token"]


async def expired(server: EtcdServer, token: str) -> None:
    """Waits until etcd has forgotten the token. Each use prolongs it, so this asks rarely."""
    async with EtcdClient([server.endpoint]) as client, asyncio.timeout(PATIENCE):
        endpoint, call = await client.open_watch(rpc.WatchRequest())
        call.cancel()
        while True:
            await asyncio.sleep(4.2)
            try:
                await endpoint.rpc("range")(
                    rpc.RangeRequest(key=b"mail/k"), metadata=(("token", token),), timeout=PATIENCE
                )
            except Exception as error:
                assert "invalid auth token" in str(error)
                return
