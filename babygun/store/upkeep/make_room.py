"""The way out of etcd's NOSPACE alarm: delete, compact, defragment, lift the alarm, try a write.

``babygun doctor --make-room`` does it as root. A worker does it by itself where etcd lets it: where
etcd's authentication is off. It runs beside all other processes. A member that is defragmented
stands still, so one follows the other, and the leader is the last.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator

from babygun.errors import EtcdError, OutOfSpace, PermissionDenied
from babygun.etcd import EtcdClient, Status
from babygun.runtime.logs import get_logger
from babygun.store.store import Store
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import Fullness
from babygun.store.upkeep.reserve import Reserve, file_is_near
from babygun.store.upkeep.shedding import Shedding

log = get_logger("store")

ROUNDS = 5
_PATIENCE = 3600.0  # s, for a compaction or a defragmentation
_WORTH = 0.02  # of the quota, that a defragmentation has to give back
_WAIT = 2.0  # s, between two rounds
_LEASE = 60  # s, of the lease that is granted to try a write
_FIRST = 3.0  # s, from the alarm until a worker begins
_OTHERS = 30.0  # s, until one begins that does not lead
_AGAIN = 60.0  # s, after a try that did not help
# Without the alarm a pause is so many times as long as the run before, which stops etcd's members
# one after the other; s, at most.
_TIMES, _LONGEST = 10, 1800.0
_DENIED = 600.0  # s, after a refusal: authentication may be off again
_SPARE = 1.5  # times what is in use, for a larger quota


async def make_room(store: Store, *, rounds: int = ROUNDS) -> AsyncIterator[str]:
    """Makes room until a write succeeds. Yields what it has done, in sentences.

    Raises PermissionDenied for a user who is not root, and OutOfSpace if there is no room after
    all rounds. Other EtcdErrors are raised too; then call it again.
    """
    client, fullness = store.client, Fullness(store.client, store.settings.etcd_quota)
    shedding = Shedding(store, fullness, Compaction(client, fullness, store.keys.cluster))
    for number in range(1, rounds + 1):
        await shedding.once()
        deleted = sum(shedding.shed.values())
        if deleted:
            yield f"deleted the oldest contents and records of final e-mails ({deleted})"
        if shedding.waiting.count:
            yield f"gave up the oldest events that waited for webhooks ({shedding.waiting.count})"
        revision = (await fullness.measure()).revision
        await client.compact(revision, timeout=_PATIENCE)
        size = await fullness.measure()
        yield (
            f"compacted: {size.in_use / 2**20:.1f} MiB in use,"
            f" of a quota of {fullness.quota / 2**20:.1f} MiB"
        )
        async for sentence in _defragment(client, fullness.quota):
            yield sentence
        if await client.disarm_nospace():
            yield "lifted the NOSPACE alarm"
        if await _takes_writes(client, fullness):
            yield "etcd takes writes"
            return
        yield f"etcd is still full after round {number} of {rounds}"
        await asyncio.sleep(_WAIT if number < rounds else 0)
    raise OutOfSpace(
        f"{fullness.in_use * fullness.quota / 2**20:.0f} MiB are in use, more than fits: set"
        f" quota-backend-bytes to {_enough(fullness)} or more on all members, restart them one"
        " after the other, then make room again"
    )


def _enough(fullness: Fullness) -> int:
    """A quota in bytes, whole MiB, with room to end what is stored."""
    return math.ceil(max(fullness.in_use, fullness.file) * fullness.quota * _SPARE / 2**20) << 20


async def _takes_writes(client: EtcdClient, fullness: Fullness) -> bool:
    """Whether a write succeeds, and a large one would not raise the alarm again."""
    try:
        await client.revoke(await client.grant(_LEASE))
    except OutOfSpace:
        return False
    await fullness.measure()
    return not file_is_near(fullness)


async def _defragment(client: EtcdClient, quota: int) -> AsyncIterator[str]:
    found = await client.statuses()
    members = [(endpoint, one) for endpoint, one in found.items() if isinstance(one, Status)]
    for endpoint in found.keys() - {endpoint for endpoint, _ in members}:
        yield f"etcd at {endpoint} does not answer: make room again once it is back"
    for endpoint, status in sorted(members, key=lambda one: one[1].leader == one[1].member):
        if status.db_size - status.db_size_in_use < _WORTH * (status.quota or quota):
            continue
        began = time.monotonic()
        await client.defragment(endpoint, timeout=_PATIENCE)
        after = (await client.statuses())[endpoint]
        size = after.db_size if isinstance(after, Status) else status.db_size_in_use
        yield (
            f"defragmented etcd at {endpoint} in {time.monotonic() - began:.1f} s:"
            f" {status.db_size / 2**20:.1f} MiB before, {size / 2**20:.1f} MiB now"
        )


class Rescue:
    """Makes room by itself, as far as etcd lets it. Call :meth:`once` after each measurement.

    It begins under the alarm. It also begins if the file alone keeps new e-mails out: then only a
    defragmentation helps. Shedding can't: it leaves up to 70 % of the quota in use, or more where
    that is mail that waits.
    """

    def __init__(self, store: Store, fullness: Fullness, reserve: Reserve) -> None:
        self._store, self._fullness, self._reserve = store, fullness, reserve
        self._since: float | None = None  # monotonic
        self._not_before = self._not_before_alone = 0.0
        self._turn = random.uniform(1, 2) * _OTHERS  # noqa: S311

    async def once(self, *, leads: bool) -> None:
        """Makes room where that is needed, and it is this worker's turn. Raises EtcdError."""
        fullness, now = self._fullness, time.monotonic()
        if not fullness.alarm and not self._reserve.file_alone_refuses:
            self._since = None
            return
        self._since = self._since or now
        alarm = fullness.alarm
        if now < (self._not_before if alarm else self._not_before_alone) or now - self._since < (
            _FIRST if leads else self._turn
        ):
            return
        log.warning("making room", file=round(fullness.file, 3), full=round(fullness.in_use, 3))
        pause = _AGAIN
        try:
            async for sentence in make_room(self._store):
                log.info("room made", what=sentence)
        except PermissionDenied:
            pause = _DENIED
            log.error("room not made", error="only etcd's root may: run babygun doctor --make-room")
        except EtcdError as error:
            log.error("room not made", error=str(error))
        else:
            self._since = None
        ended = time.monotonic()
        self._not_before = ended + pause
        if not alarm:
            pause = max(pause, min(_TIMES * (ended - now), _LONGEST))
        self._not_before_alone = ended + pause
