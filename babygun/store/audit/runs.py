"""The settings that processes run with, for the audit.

A process may not write the audit itself: only an API process may. So at its start each process
notes its settings in a key of its role, if they are others than before. An API process makes an
audit entry of that. Until then, the key also keeps what it said before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from babygun.errors import EtcdError, PermissionDenied
from babygun.etcd import Txn, absent, get_range, modified_at, put
from babygun.runtime import settings as table
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import codec
from babygun.store.audit.entries import cut, done_by_process
from babygun.store.keys import range_end
from babygun.store.store import Store

_INTERVAL = 10.0  # s
# Runs that wait for their audit entries beside the newest one. If there are more, the oldest go.
MOST_WAITING = 8
# They differ between processes that are alike.
_OWN = frozenset({"api_process_port", "worker_port"})


class Run(Struct, frozen=True, omit_defaults=True, gc=False):
    """The first process of a role with these settings, as a key of the role has it.

    ``settings``: those that are not the default, a secret as ``(set)``. ``audited``: there is an
    audit entry of it. ``waiting``: runs before it that have none yet, oldest first.
    """

    process_id: str
    at: datetime
    settings: dict[str, str]
    audited: bool = False
    waiting: tuple[Run, ...] = ()


def shown(settings: Settings) -> dict[str, str]:
    """The settings that are not the default, without secrets."""
    texts = {
        row.name: (row.write(value), row.secret, row.default)
        for row in table.table()
        if (value := getattr(settings, row.name)) is not None and row.name not in _OWN
    }
    return {
        name: "(set)" if secret else text
        for name, (text, secret, default) in texts.items()
        if text != default
    }


async def note_run(store: Store, role: str, process_id: str) -> None:
    """Notes the settings of this process, if its role had others before. Raises EtcdError."""
    key, now, settings = store.keys.audit_run(role), utc_now(), shown(store.settings)
    while True:
        found = await store.client.get(key)
        before = codec.state_of(found, Run) if found else None
        if before is not None and before.settings == settings:
            return
        run = Run(process_id, now, settings, waiting=_waiting(before) if before else ())
        same = absent(key) if found is None else modified_at(key, found.mod_revision)
        if (await store.client.txn(Txn([same], [put(key, codec.encode_state(run))]))).succeeded:
            return


def _waiting(run: Run) -> tuple[Run, ...]:
    """What waits for audit entries once another run takes the place of this one."""
    if run.audited:
        return ()
    last = replace(run, waiting=(), settings=cut(run.settings))
    return (*run.waiting, last)[-MOST_WAITING:]


async def note_run_soon(store: Store, role: str, process_id: str) -> None:
    """Does that as soon as etcd answers. It gives up if the right to it is missing."""
    while True:
        try:
            await note_run(store, role, process_id)
        except PermissionDenied:  # /readyz says so
            return
        except EtcdError:
            await asyncio.sleep(_INTERVAL)
        else:
            return


async def audit_runs(store: Store) -> None:
    """Makes audit entries of the settings that processes have noted. Raises EtcdError."""
    found = await store.client.read(
        [
            get_range(prefix, range_end(prefix))
            for prefix in (store.keys.audit_runs, store.keys.bounced_runs)
        ]
    )
    for kv in [*found.kvs(0), *found.kvs(1)]:
        run = codec.state_of(kv, Run)
        if run is None or run.audited:
            continue
        role = store.keys.last_part(kv.key)
        ops = [put(kv.key, codec.encode_state(replace(run, audited=True, waiting=())))]
        for one in (*run.waiting, run):
            done = done_by_process(
                "run", one.process_id, target=role, details=one.settings, at=one.at
            )
            ops.append(put(store.keys.audit_entry(done.id), codec.encode_state(done)))
        await store.client.txn(Txn([modified_at(kv.key, kv.mod_revision)], ops))


async def keep_auditing(store: Store, joined: Callable[[], bool]) -> None:
    """Does that from time to time, until cancelled. ``joined``: whether this process may write."""
    while True:
        if joined():
            with suppress(EtcdError):  # a call that needs etcd notices by itself
                await audit_runs(store)
        await asyncio.sleep(_INTERVAL)
