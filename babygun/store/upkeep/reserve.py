"""What of etcd's quota new e-mails may not take: the e-mails in the store need it to end.

To end, an e-mail needs about 1 KB: its owner, its record, its end mark. What they replace is free
only after the next compaction. And a compaction itself needs room. A page of etcd's file has two
keys at least, and is written again when one of them goes: with a content beside it. etcd looks at
1,000 keys, in the order of their writing, before it commits. The pages of the 1,000 keys before
are not free yet then. So the contents among 2,000 keys may be there twice. With 200 KB each, that
is 130 MB: half of a quota of 256 MiB (the alarm came with a quarter), and nothing of 8 GiB.

So the reserve is a tenth of the quota, or what 2,000 keys hold where e-mails are large; but at most
_MOST of the quota.

API processes refuse e-mails by the reserve, and workers make room by it. Both look at what is
stored. An API process also knows what it has accepted since. It must not remember that for longer:
no worker would make room then, and the process would refuse all e-mails until their time ends.
"""

from __future__ import annotations

import time

from babygun.store import codec
from babygun.store.codec import CHUNK_BYTES
from babygun.store.keys import range_end
from babygun.store.store import Store
from babygun.store.upkeep import end_marks
from babygun.store.upkeep.fullness import Fullness

LEAST, _MOST = 0.10, 0.55  # of the quota
# Of the quota, that must be free before e-mails are accepted again. It is for a reserve of a tenth;
# a larger one makes it smaller, as it does with what workers free.
AGAIN = 0.05
# Of the quota, between file and quota: one more large request raises the alarm there, though the
# file has free pages. Not less than four of etcd's largest requests; that counts in a small one.
_FILE_LEAST, _FILE_BYTES = 0.02, 6 << 20
_BATCH_KEYS = 2000  # twice etcd's compaction-batch-limit
_OTHER_KEYS = 2  # of an e-mail, beside its content
_LARGE = 16 << 10  # bytes
_LOOK_ABOVE = 0.25  # of the quota in use: before that the size of e-mails does not matter yet
_LOOK_AGAIN = 10.0  # s
_SAMPLE = 200  # e-mails of each kind


def file_is_near(fullness: Fullness) -> bool:
    """Whether etcd's file is so near the quota that a large request may raise the alarm."""
    if not fullness.sizes:
        return False
    quota = fullness.quota
    least = max(_FILE_LEAST * quota, min(_FILE_BYTES, LEAST * quota))
    return quota - fullness.sizes[-1].file < least


class Reserve:
    """Call :meth:`measure` after each measurement of ``fullness``. ``share``: of the quota."""

    def __init__(self, store: Store, fullness: Fullness) -> None:
        self._store, self._fullness = store, fullness
        self._looked = -_LOOK_AGAIN
        # Mean bytes of large e-mails: as the last look saw them, accepted since, accepted before.
        self._stored = self._coming = self._came = 0.0

    def note(self, size: int) -> None:
        """An e-mail of ``size`` bytes is accepted."""
        if size >= _LARGE:
            self._coming = self._coming + 0.05 * (size - self._coming) if self._coming else size

    @property
    def usable(self) -> float:
        """What is left of each limit that is meant for a reserve of a tenth; 1 at most."""
        return (1 - self.share) / (1 - LEAST)

    @property
    def share(self) -> float:
        """The part of the quota that is reserved."""
        size = max(self._stored, self._coming, self._came)
        keys = -(-size // CHUNK_BYTES) + _OTHER_KEYS
        # Of many chunks only the first and the last are beside other keys.
        again = _BATCH_KEYS / keys * min(size, 2 * CHUNK_BYTES)
        return max(LEAST, min(_MOST, again / self._fullness.quota))

    @property
    def room(self) -> float:
        """Bytes that new e-mails may take; 0 where the file alone is too near the quota."""
        fullness = self._fullness
        if not fullness.sizes:
            return float("inf")
        if file_is_near(fullness):
            return 0.0
        return max(0.0, (1 - self.share) * fullness.quota - fullness.sizes[-1].in_use)

    @property
    def file_alone_refuses(self) -> bool:
        """Whether new e-mails would be accepted again if the file were as small as what is in use.

        Only a defragmentation helps then. It is worth it: the file is larger by what is free.
        """
        fullness = self._fullness
        accepting = 1 - self.share - AGAIN * self.usable
        return file_is_near(fullness) and fullness.in_use < accepting

    async def measure(self) -> None:
        """Looks how large the stored e-mails are, from time to time. Raises EtcdError."""
        now = time.monotonic()
        fullness = self._fullness
        enough = LEAST * fullness.quota >= _BATCH_KEYS / 3 * CHUNK_BYTES  # whatever the size
        if enough or fullness.in_use < _LOOK_ABOVE:
            self._stored = 0.0
            self._looked = -_LOOK_AGAIN  # once it matters, it matters at once
        elif now - self._looked >= _LOOK_AGAIN:
            large = [size for size in await self._sizes() if size >= _LARGE]
            self._stored = sum(large) / len(large) if large else 0.0
            # What came just before this look may have been written after it.
            self._came, self._coming = self._coming, 0.0
            self._looked = now

    async def _sizes(self) -> list[int]:
        """The sizes of some e-mails that are ready, that wait, or that are final."""
        client, keys = self._store.client, self._store.keys
        found = []
        for prefix in (keys.jobs, keys.waiting):  # jobs are in the order of random digits
            for kv in (await client.range(prefix, range_end(prefix), limit=_SAMPLE)).kvs:
                try:
                    found.append(codec.decode_job(kv.value).size)
                except ValueError:  # somebody wrote it by hand; its worker logs that
                    continue
        for kind in ("delivered", "undelivered"):
            prefix = keys.retention_kind(kind)
            marks = await client.range(prefix, range_end(prefix), limit=_SAMPLE)
            found += [mark.size for mark in end_marks.read(keys, marks.kvs)]
        return found
