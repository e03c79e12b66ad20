"""Refuses new e-mails before etcd is full, so that those that are stored can still be sent.

Each second the room is measured: what new e-mails may take until only the reserve is left
(:mod:`babygun.store.upkeep.reserve`). Each API process gives out half of its share of that. So all
of them together never write more than there is room for, however fast e-mails come. What was given
out since the measurement before counts as not measured yet: etcd counts what it has committed.

The other half is for large e-mails: small ones come all the time, and would keep them out for ever.
One that is too large for all that is left is refused, and keeps nobody else out.

Long before that, workers delete finished e-mails early (:mod:`babygun.store.upkeep.shedding`).
"""

from __future__ import annotations

import asyncio

from babygun.errors import EtcdError, OutOfSpace
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.codec import CHUNK_BYTES
from babygun.store.keys import range_end
from babygun.store.upkeep.fullness import IN_FILE, Fullness
from babygun.store.upkeep.reserve import AGAIN, Reserve

log = get_logger("api")

INTERVAL = 1.0  # s, between two measurements
_SMALL = 16  # what needs more than so small a part of the share is large
_KEYS_BYTES = 3000  # of record, job and log, as they are written with an e-mail


class QuotaGuard:
    """``full``: new e-mails are to be refused. Kept up to date while :meth:`run` runs.

    Before an e-mail is stored, call :meth:`take`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fullness = Fullness(store.client, store.settings.etcd_quota)
        self._reserve = Reserve(store, self._fullness)
        self._share = self._left = float("inf")  # bytes; inf before the first measurement
        self._taken = self._before = 0.0  # bytes, since the last measurement, and before that
        self._large = self._large_before = 0.0  # the same, of large e-mails
        self.full = self._short = False

    def check(self) -> None:
        """Raises OutOfSpace while new e-mails are to be refused."""
        if self.full:
            raise OutOfSpace(
                "etcd is nearly full; new e-mails are accepted again when old ones are deleted"
            )

    def take(self, *sizes: int) -> None:
        """Takes the room for e-mails with contents of so many bytes: for all of them, or for none.

        Raises OutOfSpace if there is none.
        """
        self._take(sum(map(_in_etcd, sizes)))
        for size in sizes:
            self._reserve.note(size)

    def take_other(self, size: int) -> None:
        """The same for keys and values of ``size`` bytes that are no e-mail's."""
        self._take(size * IN_FILE)

    def _take(self, needed: float) -> None:
        whole = self._share - self._taken - self._before - self._large - self._large_before
        small = self._share / _SMALL
        left = min(whole, self._left - self._taken)
        if needed <= left:
            self._taken += needed
        elif small < needed <= whole:
            self._large += needed
        else:
            if left < min(small, CHUNK_BYTES * IN_FILE):
                self.full = True  # until the next measurement, which may find more
                self.check()
            raise OutOfSpace(
                f"this needs {needed / 2**20:.1f} MiB in etcd, and this process may give out"
                f" {max(0.0, whole) / 2**20:.1f} MiB now; where that stays so, it must be smaller,"
                " or etcd needs a larger quota"
            )

    async def run(self) -> None:
        while True:
            try:
                await self.measure()
            except EtcdError:  # a call that needs etcd notices by itself
                pass
            await asyncio.sleep(INTERVAL)

    async def measure(self) -> None:
        """Asks etcd, and sets ``full``. Raises EtcdError."""
        fullness, apis = self._fullness, self._store.keys.apis
        await fullness.measure()
        await self._reserve.measure()
        found = await self._store.client.range(apis, range_end(apis), limit=1, keys_only=True)
        metrics.ETCD_ROOM.show(room := self._reserve.room)
        self._share = room / max(1, found.count)
        self._left = self._share / 2 - self._taken
        self._before, self._taken = self._taken, 0.0
        # Mostly etcd has counted large ones by now. They leave the small ones half of the share.
        self._large_before, self._large = min(self._large, self._share / 2), 0.0
        free = (self._share - self._before - self._large_before) * max(1, found.count)
        again = AGAIN * self._reserve.usable * fullness.quota
        short = free <= (again if self._short else 0)
        self.full = short
        if short != self._short:
            self._short = short
            self._log()

    def _log(self) -> None:
        fullness = self._fullness
        full, file = round(fullness.in_use, 3), round(fullness.file, 3)
        reserve = round(self._reserve.share, 3)
        if self._short:
            log.error("emails refused", full=full, file=file, reserve=reserve)
        else:
            log.info("emails accepted again", full=full, file=file, reserve=reserve)


def _in_etcd(size: int) -> float:
    """The bytes that an e-mail takes. Beyond one chunk etcd has each twice, until a compaction."""
    return size * IN_FILE * (2 if size > CHUNK_BYTES else 1) + _KEYS_BYTES
