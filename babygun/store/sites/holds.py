"""Held sites: sites whose mail waits. A server refused the session, or an operator wants it so.

One key for each. A hold may also be of one sender domain at a site: then the others' mail goes.
The first worker that writes it wins; all others follow it. A worker takes the turn to probe by a
compare on the key, so one e-mail at a time tries whether mail goes again. A turn passes on by time,
so a worker that dies takes nothing with it. The lease ends a hold that nobody probes any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from babygun.email.tries import RecipientResult
from babygun.etcd import (
    Txn,
    absent,
    delete,
    modified_at,
)
from babygun.etcd.txn import KeyValue
from babygun.store import codec
from babygun.store.followed import Followed, read_states
from babygun.store.records import Hold
from babygun.store.settled import delete_key
from babygun.store.sites.states import put_until, quoted, replace_until, said_by_operator
from babygun.store.store import Store

# s, from the begin of a hold to its first probe, and from each probe to the next one. The last
# wait repeats.
PROBE_WAITS = (30.0, 60.0, 120.0, 300.0, 600.0)
# s after a probe was due, after which a hold ends by itself. Nobody had mail to probe with, or no
# worker sends to this site.
UNPROBED = 3600.0


class Held(NamedTuple):
    """A hold as it was read. ``created`` names it: a later hold of the site has another one.

    ``created`` and ``revision``: the key's create and mod revision.
    """

    hold: Hold
    created: int
    revision: int

    @property
    def name(self) -> str:
        return self.hold.name


async def begin(
    store: Store,
    site: str,
    reply: RecipientResult,
    *,
    worker_id: str,
    sender: str = "",
    first_probe: float | None = None,
) -> Held | None:
    """Holds a site, or one sender domain there. None: it is held already. Raises EtcdError.

    ``first_probe``: in how many seconds, if not as usual. A hold of one sender ends then.
    """
    now = await store.clock.now()
    probe_at = _next_probe(now, 0) if first_probe is None else now + timedelta(seconds=first_probe)
    hold = Hold(
        site=site,
        sender=sender,
        **quoted(reply),
        since=now,
        set_by=worker_id,
        probe_at=probe_at,
        until=probe_at if sender else _until(probe_at),
    )
    key = store.keys.hold(site, sender)
    revision = await put_until(store, key, hold, [absent(key)])
    return Held(hold, revision, revision) if revision else None


async def begin_by_operator(
    store: Store, site: str, reason: str, *, until: datetime, by: str
) -> Hold:
    """Holds a site until a time, without probes. It replaces another hold. Raises EtcdError."""
    now = await store.clock.now()
    hold = Hold(
        site=site,
        **said_by_operator(reason, by),
        since=now,
        probe_at=until,
        until=until,
    )
    return await replace_until(store, store.keys.hold(site), hold)


async def end_by_operator(store: Store, site: str, sender: str = "") -> bool:
    """Ends a hold, whichever it is. False: there is none. Raises EtcdError."""
    return await delete_key(store, store.keys.hold(site, sender)) is not None


async def take_turn(store: Store, held: Held, *, worker_id: str) -> Held | None:
    """Takes the turn to probe. None: another worker has it, or the hold has ended."""
    now, probes = await store.clock.now(), held.hold.probes + 1
    probe_at = _next_probe(now, probes)
    hold = replace(
        held.hold,
        probes=probes,
        probed_by=worker_id,
        probe_at=probe_at,
        until=_until(probe_at),
    )
    return await _write(store, held, hold)


async def quote(store: Store, held: Held, reply: RecipientResult) -> Held | None:
    """Notes what the server says now. None: there is nothing new, or the hold has changed."""
    hold = replace(held.hold, **quoted(reply))
    return None if hold == held.hold else await _write(store, held, hold)


async def end(store: Store, held: Held) -> bool:
    """Ends a hold as it was read. False: it has ended or changed; an operator's may be there now.

    An operator's hold replaces another one in its key, so both have the same create revision.
    """
    key = store.keys.hold(held.hold.site, held.hold.sender)
    result = await store.client.txn(Txn([modified_at(key, held.revision)], [delete(key)]))
    return result.succeeded


async def _write(store: Store, held: Held, hold: Hold) -> Held | None:
    key = store.keys.hold(hold.site, hold.sender)
    revision = await put_until(store, key, hold, [modified_at(key, held.revision)])
    return Held(hold, held.created, revision) if revision else None


def _next_probe(now: datetime, probes: int) -> datetime:
    """``probes``: so many were made."""
    return now + timedelta(seconds=PROBE_WAITS[min(probes, len(PROBE_WAITS) - 1)])


def _until(probe_at: datetime) -> datetime:
    return probe_at + timedelta(seconds=UNPROBED)


class Holds(Followed[Held]):
    """The held sites, followed. Run :meth:`run` as a task.

    A hold's name is its site's; that of one sender domain is ``<site>/<sender>``.
    """

    def __init__(self, store: Store, changed: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(
            store,
            store.keys.holds,
            what="held sites",
            name_of=store.keys.hold_name,
            decode=_decoded,
            changed=changed,
        )


async def list_holds(store: Store) -> list[Hold]:
    """The holds, sorted by name. Raises EtcdError."""
    return [held.hold for held in await read_states(store, store.keys.holds, _decoded)]


def _decoded(kv: KeyValue) -> Held | None:
    hold = codec.state_of(kv, Hold)
    return Held(hold, kv.create_revision, kv.mod_revision) if hold else None
