"""etcd's users and roles, on an etcd with client certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.errors import EtcdError, PermissionDenied
from babygun.etcd import EtcdClient
from babygun.etcd.access import Permission, enable, enabled, set_roles
from babygun.pki.issuance import issue
from babygun.pki.layout import cluster
from tests.etcd.conftest import OwnEtcd
from tests.support.etcd_server import EtcdServer, etcd_version

MAIL = Permission(b"mail/", b"mail0", True)
STAMPS = Permission(b"stamps/", b"stamps0", False)


@pytest.fixture
def server(own_etcd: OwnEtcd, tmp_path: Path) -> EtcdServer:
    list(issue(tmp_path, cluster([], [])))
    return own_etcd(
        tls=(
            tmp_path / "etcd/server.pem",
            tmp_path / "etcd/server-key.pem",
            tmp_path / "etcd/etcd-ca.pem",
        )
    )


def client(server: EtcdServer, folder: Path, bearer: str) -> EtcdClient:
    ca = folder / bearer.split("/")[0] / "etcd-ca.pem"
    return EtcdClient(
        [server.endpoint],
        ca=str(ca),
        cert=str(folder / f"{bearer}.pem"),
        key=str(folder / f"{bearer}-key.pem"),
        timeout=20,
    )


async def changes(root: EtcdClient, *permissions: Permission) -> list[str]:
    return [line async for line in set_roles(root, {"babygun-worker": permissions})]


@pytest.mark.skipif(
    etcd_version().startswith("3.4."), reason="etcd 3.4 does not say whether authentication is on"
)
async def test_bearer_of_a_certificate_may_do_what_its_role_says_and_a_second_run_changes_nothing(
    server: EtcdServer, tmp_path: Path
) -> None:
    async with (
        client(server, tmp_path, "operator/root") as root,
        client(server, tmp_path, "worker/etcd") as worker,
        client(server, tmp_path, "api/etcd") as stranger,
    ):
        await root.put(b"stamps/1", b"penny black")
        assert not await enabled(root)
        assert "role babygun-worker: may read stamps/" in await changes(root, MAIL, STAMPS)
        assert await enable(root)
        assert await enabled(root)
        assert await changes(root, MAIL, STAMPS) == []
        assert not await enable(root)

        await worker.put(b"mail/1", b"x")
        assert await worker.get(b"stamps/1")
        for forbidden in (
            worker.put(b"stamps/1", b"x"),
            worker.get(b"clients/1"),
            stranger.get(b"mail/1"),
            worker.access("RoleList", _role_list()),
        ):
            with pytest.raises(PermissionDenied):
                await forbidden


async def test_rights_that_are_taken_or_widened_count_at_once(
    server: EtcdServer, tmp_path: Path
) -> None:
    async with (
        client(server, tmp_path, "operator/root") as root,
        client(server, tmp_path, "worker/etcd") as worker,
    ):
        await changes(root, MAIL, STAMPS)
        await enable(root)
        await worker.put(b"mail/1", b"x")
        assert await changes(root, STAMPS._replace(write=True)) == [
            "role babygun-worker: may read and write stamps/",
            "role babygun-worker: may no longer touch mail/",
        ]
        with pytest.raises(PermissionDenied):
            await worker.put(b"mail/1", b"y")
        await worker.put(b"stamps/1", b"x")
        assert await changes(root, STAMPS) == ["role babygun-worker: may read stamps/"]
        with pytest.raises(PermissionDenied):
            await worker.put(b"stamps/1", b"y")


async def test_authentication_without_root_is_refused(server: EtcdServer, tmp_path: Path) -> None:
    async with client(server, tmp_path, "operator/root") as root:
        with pytest.raises(EtcdError, match="root user"):
            await enable(root)


def _role_list() -> object:
    from aetcd import rpc

    return rpc.AuthRoleListRequest()
