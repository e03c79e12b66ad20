"""etcd's own users, roles and permissions, made what they should be. Needs the rights of ``root`` where authentication is on.

A user here has no password: it is whoever shows a client certificate with that common name. Each step looks first and does what
lacks, so the whole may be run again, also after it broke off half-way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import NamedTuple

from aetcd import rpc

from babygun.errors import EtcdError
from babygun.etcd.client import EtcdClient

_ROOT = "root"


class Permission(NamedTuple):
    """The right to read the keys in [start, end), or to read and write them."""

    start: bytes
    end: bytes
    write: bool


async def set_roles(
    client: EtcdClient, roles: Mapping[str, Collection[Permission]]
) -> AsyncIterator[str]:
    """Makes a user and a role of each name, with these permissions and no others, and user and role ``root``. Yields each change as a line."""
    known = set((await client.access("RoleList", rpc.AuthRoleListRequest())).roles)
    users = set((await client.access("UserList", rpc.AuthUserListRequest())).users)
    for name in (_ROOT, *roles):
        if name not in known:
            await client.access("RoleAdd", rpc.AuthRoleAddRequest(name=name))
            yield f"role {name}: made"
        if name != _ROOT:
            async for line in _set_permissions(client, name, roles[name]):
                yield line
        if name not in users:
            await client.access(
                "UserAdd",
                rpc.AuthUserAddRequest(name=name, options=rpc.UserAddOptions(no_password=True)),
            )
            yield f"user {name}: made, known by the certificate with that name"
        if name not in (await client.access("UserGet", rpc.AuthUserGetRequest(name=name))).roles:
            await client.access("UserGrantRole", rpc.AuthUserGrantRoleRequest(user=name, role=name))
            yield f"user {name}: has role {name}"


async def _set_permissions(
    client: EtcdClient, role: str, wanted: Collection[Permission]
) -> AsyncIterator[str]:
    found = (await client.access("RoleGet", rpc.AuthRoleGetRequest(role=role))).perm
    held = {Permission(p.key, p.range_end, p.permType == rpc.Permission.READWRITE) for p in found}
    for permission in sorted(set(wanted) - held):
        kind = rpc.Permission.READWRITE if permission.write else rpc.Permission.READ
        granted = rpc.Permission(permType=kind, key=permission.start, range_end=permission.end)
        await client.access(
            "RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name=role, perm=granted)
        )
        yield f"role {role}: may {'read and write' if permission.write else 'read'} {permission.start.decode(errors='replace')}"
    ranges = {(permission.start, permission.end) for permission in wanted}
    for permission in sorted(held):
        if (permission.start, permission.end) not in ranges:
            await client.access(
                "RoleRevokePermission",
                rpc.AuthRoleRevokePermissionRequest(
                    role=role, key=permission.start, range_end=permission.end
                ),
            )
            yield f"role {role}: may no longer touch {permission.start.decode(errors='replace')}"


async def enable(client: EtcdClient) -> bool:
    """Turns authentication on; from then on everybody needs a user. False: it was on. ``root`` must be there (:func:`set_roles`)."""
    if await enabled(client):
        return False
    await client.access("AuthEnable", rpc.AuthEnableRequest())
    return True


async def enabled(client: EtcdClient) -> bool:
    """Whether authentication is on."""
    try:
        answer = await client.access("AuthStatus", rpc.AuthStatusRequest())
    except EtcdError as error:
        if (
            "unimplemented" in str(error).lower() or "unknown method" in str(error).lower()
        ):  # before 3.5
            return False
        raise
    on: bool = answer.enabled
    return on
