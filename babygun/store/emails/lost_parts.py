"""Ends a queue of a wide e-mail whose part is gone. Only somebody's hand deletes one."""

from __future__ import annotations

from babygun.email import lifecycle, wide
from babygun.errors import EtcdError
from babygun.etcd import absent, created_at, delete, get, modified_at
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.emails import parts
from babygun.store.emails.write_loop import Pause, write_change
from babygun.store.keys import JobRef
from babygun.store.store import Store

log = get_logger("store")


async def end_lost_part(store: Store, ref: JobRef, *, worker_id: str, owner_revision: int) -> None:
    """Ends it as :func:`babygun.email.lifecycle.lose_part` says. Goes on until etcd has decided.

    This worker owns the job. Without this the e-mail would stay incomplete for ever.
    """
    owner_key, email_key = store.keys.owner(ref), store.keys.email(ref.email_id)
    pause = Pause()
    while True:
        try:
            read = await store.client.read([get(email_key), get(owner_key)])
            records, owners = read.kvs(0), read.kvs(1)
            if not records or not owners or owners[0].create_revision != owner_revision:
                return
            others = await parts.read_parts(store, ref.email_id, read.revision)
            if ref.queue in others:
                return
            email = wide.with_parts(codec.decode_email(records[0].value), others)
            transition = lifecycle.lose_part(email, ref.queue, worker_id=worker_id, now=utc_now())
            result = await write_change(
                store,
                transition,
                [
                    modified_at(email_key, records[0].mod_revision),
                    absent(store.keys.part(ref)),
                    created_at(owner_key, owner_revision),
                ],
                more=[delete(owner_key)],
            )
        except EtcdError as error:
            await pause.after(error, "end of a lost part", ref.email_id)
            continue
        if result.succeeded:
            log.error("record part lost", email_id=ref.email_id, queue=ref.queue)
            return
