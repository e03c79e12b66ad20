"""What each member of etcd says of itself."""

from __future__ import annotations

from typing import NamedTuple

from babygun.errors import EtcdError
from babygun.etcd import Status
from babygun.store.store import Store


class Sizes(NamedTuple):
    """Bytes: of the database file, of what is in use in it, and the most that it may hold."""

    file: int
    in_use: int
    quota: int


class MemberState(NamedTuple):
    """One member, by its endpoint in the settings. ``problem``: what is wrong with it, or None.

    ``version`` and ``sizes`` are None while it does not answer.
    """

    endpoint: str
    problem: str | None
    leads: bool = False
    version: str | None = None
    sizes: Sizes | None = None


async def read_members(store: Store, *, timeout: float) -> list[MemberState]:  # noqa: ASYNC109
    """Asks every member; those that do not answer within ``timeout`` seconds say so.

    Raises EtcdError where the client is closed.
    """
    found = await store.client.statuses(timeout=timeout)
    return [
        MemberState(endpoint, str(status))
        if isinstance(status, EtcdError)
        else _state(status, store.settings.etcd_quota)
        for endpoint, status in found.items()
    ]


def _state(status: Status, quota: int) -> MemberState:
    """``quota``: the setting, for an etcd that does not report its own."""
    problems = list(dict.fromkeys(status.errors))
    if not status.leader:
        problems.append("it knows of no leader")
    if status.is_learner:
        problems.append("it is a learner, and has no vote yet")
    return MemberState(
        status.endpoint,
        "; ".join(problems) or None,
        leads=status.leader != 0 and status.leader == status.member,
        version=status.version,
        sizes=Sizes(status.db_size, status.db_size_in_use, status.quota or quota),
    )
