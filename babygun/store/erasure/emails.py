"""Erases a recipient in one e-mail, or deletes an e-mail that is for nobody else.

Content and log come first, the record last: as long as the record names the recipient, a search
finds the e-mail. So an erasure that a crash ended goes on when it is run again. Each write compares
the revision of the record, so nothing is added meanwhile.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from babygun.email.erasure import (
    erase,
    is_alone,
    marking,
    recipient_of,
    without_address,
    without_recipient,
)
from babygun.email.model import Email, Recipient
from babygun.errors import Conflict, LeaseNotFound, NotFound
from babygun.etcd import (
    Compare,
    KeyValue,
    Op,
    Txn,
    TxnResult,
    delete,
    delete_range,
    get,
    get_range,
    modified_at,
    put,
)
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.emails import writes
from babygun.store.emails.change import Parts, Seen, change_record
from babygun.store.emails.on_request import cancel
from babygun.store.keys import JobRef, range_end
from babygun.store.store import Store

# erased   the address is a mark; the others keep the e-mail
# deleted  it was for nobody else, and is gone
# gone     it does not name the recipient any more
# sending  it is being sent to the recipient, or changes all the time: come again
Fate = Literal["erased", "deleted", "gone", "sending"]

_TRIES = 8


class Asker(NamedTuple):
    """Who asks for an erasure, as the e-mails' logs name it."""

    client_id: str | None = None
    request_id: str | None = None


NOBODY = Asker()


class _Changed(Exception):
    """The record is not as it was read."""


async def erase_in_email(
    store: Store, email_id: str, mailbox: str, *, queue: str = "", asker: Asker
) -> Fate:
    """Erases a mailbox in an e-mail. ``queue``: the recipient's, if the e-mail is wide.

    Raises EtcdError; the call can be repeated.
    """
    for _ in range(_TRIES):
        try:
            return await _Erasure(store, email_id, mailbox, queue, asker).run()
        except (_Changed, LeaseNotFound):
            continue
        except NotFound:
            return "gone"
        except Conflict:  # a worker has taken it
            return "sending"
    return "sending"


class _Erasure:
    def __init__(self, store: Store, email_id: str, mailbox: str, queue: str, asker: Asker) -> None:
        self._store, self._id, self._mailbox = store, email_id, mailbox
        self._queue, self._asker = queue, asker

    async def run(self) -> Fate:
        """Raises _Changed if the record has changed meanwhile, and Conflict if it is being sent."""
        store, keys = self._store, self._store.keys
        owners, log = keys.email_owners(self._id), keys.log(self._id)
        found = await store.client.read(
            [
                get(keys.email(self._id)),
                get_range(owners, range_end(owners)),
                get(keys.chunk(self._id, 0)),
                get_range(log, range_end(log)),
            ]
        )
        if not found.kvs(0):
            return "gone"
        self._record = found.kvs(0)[0]
        record = codec.decode_email(self._record.value)
        seen = await Parts(only=self._queue).seen(store, record, found.revision)
        recipient = recipient_of(seen, self._mailbox)
        if recipient is None:
            return "gone"
        if any(keys.parse_owner(kv.key).queue == recipient.queue for kv in found.kvs(1)):
            return "sending"
        if is_alone(record, self._mailbox):
            return await self._delete(record)
        return await self._erase(record, recipient, found)

    async def _delete(self, record: Email) -> Fate:
        """Deletes all of the e-mail; one that is not final is cancelled first."""
        if not record.final:
            asker = self._asker
            await cancel(
                self._store, self._id, client_id=asker.client_id, request_id=asker.request_id
            )
            raise _Changed
        keys = self._store.keys
        below = (keys.log(self._id), keys.email_parts(self._id), keys.content(self._id))
        await self._write(
            delete(keys.email(self._id)),
            *(delete_range(prefix, range_end(prefix)) for prefix in below),
            delete(keys.failed(self._id)),
            delete(writes.end_mark_of(keys, record)),
        )
        return "deleted"

    async def _erase(self, record: Email, recipient: Recipient, found: TxnResult) -> Fate:
        spellings = (self._mailbox, recipient.email)
        size = record.size
        for chunk in found.kvs(2):
            size += await self._edit_content(record, chunk, spellings)
        for kv in found.kvs(3):
            entry = codec.decode_log_entry(kv.value)
            if (marked := without_address(entry, spellings)) != entry:
                await self._write(put(kv.key, codec.encode_state(marked), kv.lease))
        log_seq = record.log_seq

        def decide(seen: Seen) -> Any:
            if seen.email.log_seq != log_seq:
                raise _Changed
            return erase(
                seen.email,
                self._mailbox,
                sending=seen.sending,
                now=utc_now(),
                size=size,
                client_id=self._asker.client_id,
                request_id=self._asker.request_id,
            )

        owner = self._store.keys.owner(JobRef(self._id, recipient.queue))
        await change_record(
            self._store, self._id, decide, Parts(only=recipient.queue), watched=[owner]
        )
        return "erased"

    async def _edit_content(
        self, record: Email, chunk: KeyValue, spellings: tuple[str, ...]
    ) -> int:
        """Takes the recipient out of the content. Returns by how much it grew, in bytes."""
        try:
            edited = self._without(chunk, spellings)
        except ValueError:  # a thousand very long names: the first chunk has not all of them
            if not record.final:
                raise Conflict("the recipients are in several chunks") from None
            content = self._store.keys.content(self._id)
            mark = writes.end_mark_of(self._store.keys, record)
            await self._write(delete_range(content, range_end(content)), delete(mark))
            return -record.size
        if edited != chunk.value:
            there = modified_at(chunk.key, chunk.mod_revision)
            await self._write(put(chunk.key, edited, chunk.lease), only_if=there)
        return len(edited) - len(chunk.value)

    def _without(self, chunk: KeyValue, spellings: tuple[str, ...]) -> bytes:
        """The first chunk of the content without the recipient; the text for all stays."""
        mark = marking(spellings)

        def edit(fields: dict[str, Any]) -> dict[str, Any]:
            for name in ("to", "cc", "bcc"):
                if name in fields:
                    fields[name] = without_recipient(fields[name], self._mailbox)
            if "subject" in fields:
                fields["subject"] = mark(fields["subject"])
            if "headers" in fields:
                fields["headers"] = [(name, mark(value)) for name, value in fields["headers"]]
            return fields

        return codec.edit_first_chunk(chunk.value, edit)

    async def _write(self, *ops: Op, only_if: Compare | None = None) -> None:
        """Writes if the record is as it was read. Raises _Changed, EtcdError."""
        compares = [modified_at(self._record.key, self._record.mod_revision)]
        if only_if is not None:
            compares.append(only_if)
        if not (await self._store.client.txn(Txn(compares, ops))).succeeded:
            raise _Changed
