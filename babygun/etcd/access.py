"""Sets up etcd's own users, roles and permissions. Needs the rights of ``root``, if any.

A user here has no password: it is the holder of a client certificate with that common name. Each
step checks first and does what is missing, so all of it may be run again, also after an error.
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
    """Makes a user and a role of each name with exactly these permissions, and ``root``.

    Yields each change as a line.
    """
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
            options = rpc.UserAddOptions(no_password=True)
            await client.access("UserAdd", rpc.AuthUserAddRequest(name=name, options=options))
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
        verb = "read and write" if permission.write else "read"
        yield f"role {role}: may {verb} {permission.start.decode(errors='replace')}"
    ranges = {(permission.start, permission.end) for permission in wanted}
    for permission in sorted(held):
        if (permission.start, permission.end) not in ranges:
            revoked = rpc.AuthRoleRevokePermissionRequest(
                role=role, key=permission.start, range_end=permission.end
            )
            await client.access("RoleRevokePermission", revoked)
            yield f"role {role}: may no longer touch {permission.start.decode(errors='replace')}"


async def enable(client: EtcdClient) -> bool:
    """Turns authentication on: from then on every client needs a user. False: it was on already.

    ``root`` must exist (:func:`set_roles`).
    """
    if await enabled(client):
        return False
    await client.access("AuthEnable", rpc.AuthEnableRequest())
    return True


async def enabled(client: EtcdClient) -> bool:
    """Whether authentication is on."""
    try:
        answer = await client.access("AuthStatus", rpc.AuthStatusRequest())
    except EtcdError as error:
        said = str(error).lower()
        if "unimplemented" in said or "unknown method" in said:  # before 3.5
            return False
        raise
    on: bool = answer.enabled
    return on
