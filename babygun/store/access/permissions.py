"""Whether etcd gives this process the rights that its role needs, and which user it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from babygun.errors import PermissionDenied, SettingsError
from babygun.etcd import Op, Txn, created_at, delete, get, get_range
from babygun.pki.certificates import read_certificate
from babygun.runtime.settings import Settings
from babygun.store.access.rights import Grant, Role, grants
from babygun.store.store import Store

_NEVER = 1 << 62  # a revision that no key was created at: a compare with it never holds


def user_of(settings: Settings) -> str:
    """This process's etcd user: by name, or by its certificate's common name; empty for none."""
    if settings.etcd_user:
        return settings.etcd_user
    try:
        return read_certificate(settings.etcd_cert).subject if settings.etcd_cert else ""
    except SettingsError:
        return ""


_NO_USER = (
    "etcd's authentication is on: set etcd_user and etcd_password,"
    " or show a client certificate with the user's name (etcd_cert)"
)


def explain_denied(settings: Settings, error: PermissionDenied) -> str:
    """Why etcd lets this process do nothing at all, as a sentence."""
    said = str(error).lower()
    if "authentication failed" in said:
        return (
            f"etcd does not take the password of its user {settings.etcd_user},"
            " or does not know that user (etcd_user, etcd_password)"
        )
    if "user name is empty" in said:
        return _NO_USER
    return f"etcd refuses its user {user_of(settings) or '(none)'}: {error}"


async def missing_rights(store: Store, role: Role) -> list[str]:
    """The rights that a process of this role needs and lacks, a sentence each. Raises EtcdError.

    One transaction, whose compares never hold, asks for all of them: etcd checks the rights of what
    it would do first.
    """
    wanted = grants(store.keys, role)
    if await _allowed(store, wanted):
        return []
    if not (name := user_of(store.settings)):  # etcd 3.4 denies what others refuse at once
        return [_NO_USER]
    user = f"etcd user {name}"
    found = await asyncio.gather(*(_lacking(store, grant) for grant in wanted))
    lacking = [(grant, words) for grant, words in zip(wanted, found, strict=True) if words]
    if len(lacking) == len(wanted) and all(words == "read" for _, words in lacking):
        prefix = store.keys.prefix.decode()
        return [
            f"{user} may read nothing under {prefix}:"
            " it has no role, or one without rights there (babygun access makes them)"
        ]
    return [f"{user} may not {words} {grant.start.decode()}" for grant, words in lacking]


async def _lacking(store: Store, grant: Grant) -> str:
    """``read`` or ``write``, whichever is not allowed; empty where both are."""
    if not await _allowed(store, [grant._replace(right="read")]):
        return "read"
    return "" if await _allowed(store, [grant]) else "write"


async def _allowed(store: Store, wanted: Sequence[Grant]) -> bool:
    ops: list[Op] = []
    for grant in wanted:
        ops.append(
            get_range(grant.start, grant.end, limit=1, keys_only=True)
            if grant.end
            else get(grant.start)
        )
        if grant.right == "readwrite":
            ops.append(delete(grant.start))  # a delete passes where etcd is full, too
    try:
        await store.client.txn(Txn([created_at(grant.start, _NEVER) for grant in wanted], ops))
    except PermissionDenied:
        return False
    return True
