"""An etcd of the test's own, with authentication. Each user has a password."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from aetcd import rpc

from babygun.etcd import EtcdClient
from babygun.etcd.access import Permission, enable, set_roles
from babygun.runtime.settings import Settings
from babygun.store.access.rights import RIGHTS, grants
from babygun.store.keys import Keys
from tests.support.etcd_server import EtcdServer
from tests.support.rig import changed


def role_permissions(prefix: str) -> dict[str, list[Permission]]:
    """The permissions of Babygun's roles, by user name."""
    return {
        f"babygun-{role}": [
            Permission(start, end, right == "readwrite")
            for start, end, right in grants(Keys(prefix), role)
        ]
        for role in RIGHTS
    }


def as_user(settings: Settings, user: str) -> Settings:
    """Settings with a user of such an etcd."""
    return changed(settings, etcd_user=user, etcd_password=f"{user}'s")


async def guard(
    server: EtcdServer,
    roles: Mapping[str, Collection[Permission]],
    *,
    without_role: Collection[str] = (),
) -> None:
    """Makes the users and ``root``, and enables authentication.

    Each user has the role of its name, except for those in ``without_role``.
    """
    async with EtcdClient([server.endpoint]) as client:
        await client.status()
        for name in ("root", *roles, *without_role):
            await client.access(
                "UserAdd",
                rpc.AuthUserAddRequest(
                    name=name, password=f"{name}'s", options=rpc.UserAddOptions(no_password=False)
                ),
            )
        async for _ in set_roles(client, roles):
            pass
        await enable(client)


@asynccontextmanager
async def guarded_etcd(settings: Settings) -> AsyncIterator[Settings]:
    """Settings without a user, for an etcd with Babygun's roles on the prefix of ``settings``."""
    with EtcdServer(fsync=False) as server:
        await guard(server, role_permissions(settings.prefix))
        yield changed(settings, etcd_endpoints=(server.endpoint,))
