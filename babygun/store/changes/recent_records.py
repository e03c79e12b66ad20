"""The records of e-mails that changed last, as etcd has them: undecoded, with their revisions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from babygun.etcd import KeyValue, Op, get
from babygun.store.store import Store

RECORD_BYTES = 16 << 20  # of records that are kept
_AT_ONCE = 100  # records of one read


class RecentRecords:
    """At most RECORD_BYTES of records. One that is not kept is read again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._bytes = 0

    def get(self, email_id: str) -> tuple[bytes, int] | None:
        """A record's value and its revision; None where it is not kept."""
        return self._records.get(email_id)

    def add(self, email_id: str, kv: KeyValue) -> None:
        """Keeps a record, unless a newer one is known."""
        known = self._records.get(email_id)
        if known is not None:
            if known[1] >= kv.mod_revision:
                return
            self._bytes -= len(known[0])
        self._records[email_id] = kv.value, kv.mod_revision
        self._records.move_to_end(email_id)
        self._bytes += len(kv.value)
        while self._bytes > RECORD_BYTES and len(self._records) > 1:
            _, (value, _) = self._records.popitem(last=False)
            self._bytes -= len(value)

    def forget(self, email_id: str) -> None:
        if record := self._records.pop(email_id, None):
            self._bytes -= len(record[0])

    async def read(self, email_ids: Iterable[str]) -> None:
        """Reads those that are not kept. One that is gone stays unknown. May raise EtcdError."""
        missing = [email_id for email_id in email_ids if email_id not in self._records]
        for at in range(0, len(missing), _AT_ONCE):
            part = missing[at : at + _AT_ONCE]
            ops: list[Op] = [get(self._store.keys.email(email_id)) for email_id in part]
            result = await self._store.client.read(ops)
            for index, email_id in enumerate(part):
                if kvs := result.kvs(index):
                    self.add(email_id, kvs[0])


class _RecordClient(msgspec.Struct, frozen=True):
    """The one field of a record that says who may see it."""

    client_id: str


_decode_client = msgspec.json.Decoder(_RecordClient).decode


def client_of(record: KeyValue) -> str | None:
    """The client of a record; None where it can't be read."""
    try:
        return _decode_client(record.value).client_id
    except ValueError:
        return None
