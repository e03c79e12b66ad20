"""How full etcd is, and how full it will be before anything can be done about it.

etcd raises its NOSPACE alarm by the size of its file, which grows when no page of it is free and never shrinks by itself. So the alarm is
kept away by keeping what is in use well below the quota at every moment, its peaks between two compactions included: everything that
is written counts until a compaction has taken effect, whether it is still needed or not. At a few thousand e-mails a second that is
10 MB a second, a few percent of a small quota; so what is in use now says too little, and whoever acts by it asks for :meth:`Fullness.expected`.
"""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from babygun.errors import EtcdError, EtcdUnavailable
from babygun.etcd import EtcdClient, Status

_SPAN = 3.0  # s, at least between two looks whose difference counts as growth: etcd counts its free pages in leaps
_MOST_GROWTH = 0.35  # of the quota, that growth may add to what is expected: a burst of large e-mails alone must not empty the store
_PATIENCE = 2.0  # s, that a member is given to answer


class Look(NamedTuple):
    """``at``: monotonic seconds; bytes of the fullest member; ``revision``: of the store."""

    at: float
    in_use: int
    size: int
    revision: int


class Fullness:
    """Asks the members now and then (:meth:`look`), and remembers. ``quota``: bytes, where etcd does not tell (before 3.6); ``memory``: seconds."""

    def __init__(self, client: EtcdClient, quota: int, *, memory: float = 60.0) -> None:
        self._client, self.quota, self._memory = client, quota, memory
        self.looks: deque[Look] = deque()

    async def look(self) -> Look:
        """Asks every member; the fullest one counts, since an alarm of any stops all. Raises EtcdError where none answers."""
        answers = (
            await self._client.statuses(timeout=min(_PATIENCE, self._client.timeout))
        ).values()
        members = [status for status in answers if isinstance(status, Status)]
        if not members:
            raise next(
                (answer for answer in answers if isinstance(answer, EtcdError)),
                EtcdUnavailable("no member of etcd answers"),
            )
        self.quota = min((status.quota for status in members if status.quota), default=self.quota)
        look = Look(
            time.monotonic(),
            max(s.db_size_in_use for s in members),
            max(s.db_size for s in members),
            max(s.revision for s in members),
        )
        self.saw(look)
        return look

    def saw(self, look: Look) -> None:
        """Remembers a look."""
        self.looks.append(look)
        while look.at - self.looks[0].at > self._memory:
            self.looks.popleft()

    @property
    def in_use(self) -> float:
        """What is in use, as a share of the quota; 0 before the first look."""
        return self.looks[-1].in_use / self.quota if self.looks else 0.0

    @property
    def file(self) -> float:
        """The size of the file, as a share of the quota: at 1.0 etcd raises its alarm."""
        return self.looks[-1].size / self.quota if self.looks else 0.0

    @property
    def growth(self) -> float:
        """Bytes a second: the fastest that what is in use has grown as far back as is remembered. What a compaction frees does not hide it."""
        fastest, begin = 0.0, 0
        for end, look in enumerate(self.looks):
            while begin < end and look.at - self.looks[begin + 1].at >= _SPAN:
                begin += 1
            since = self.looks[begin]
            if look.at - since.at >= _SPAN:
                fastest = max(fastest, (look.in_use - since.in_use) / (look.at - since.at))
        return fastest

    def expected(self, seconds: float) -> float:
        """What will be in use in ``seconds`` if nothing is freed until then and it grows as fast as it did at its fastest; a share of the quota."""
        return self.in_use + min(self.growth * seconds / self.quota, _MOST_GROWTH)

    def revision_before(self, seconds: float) -> int:
        """The newest revision that is ``seconds`` old at least, as far as that is known; 0 where it isn't."""
        if not self.looks:
            return 0
        return next(
            (
                look.revision
                for look in reversed(self.looks)
                if self.looks[-1].at - look.at >= seconds
            ),
            0,
        )
