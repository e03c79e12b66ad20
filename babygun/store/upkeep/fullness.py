"""How full etcd is, and how full it will be before anything can be done about it.

etcd raises its NOSPACE alarm by the size of its file. The file grows when it has no free page, and
never becomes smaller. So what is in use must stay well below the quota at every moment, also right
before a compaction. Until then all that was written counts, whether it is still needed or not. At
some thousand e-mails a second that is 10 MB a second, some percent of a small quota.

So nobody should decide by what is in use now, but by :meth:`Fullness.expected`.
"""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from babygun.errors import EtcdError, EtcdUnavailable
from babygun.etcd import EtcdClient, Status

IN_FILE = 1.15  # bytes of etcd's file for a byte of content
# s, between two sizes whose difference counts as growth: etcd counts its free pages in steps.
_SPAN = 3.0
# Of the quota, that growth may add to what is expected. A burst of large e-mails alone must not
# empty the store.
_MOST_GROWTH = 0.35
_PATIENCE = 2.0  # s, for a member to answer


class Size(NamedTuple):
    """``at``: monotonic seconds. Bytes, of the fullest member. ``revision``: of the store."""

    at: float
    in_use: int
    file: int
    revision: int


class Fullness:
    """The sizes of etcd over the last ``memory`` seconds.

    ``quota``: bytes, for an etcd that does not report its own (before 3.6). ``alarm``: whether a
    member has raised its NOSPACE alarm.
    """

    def __init__(self, client: EtcdClient, quota: int, *, memory: float = 60.0) -> None:
        self._client, self.quota, self._memory = client, quota, memory
        self.sizes: deque[Size] = deque()
        self.alarm = False

    async def measure(self) -> Size:
        """Asks every member. The fullest one counts, since its alarm would stop all.

        Raises EtcdError where none answers.
        """
        answers = await self._client.statuses(timeout=min(_PATIENCE, self._client.timeout))
        members = [status for status in answers.values() if isinstance(status, Status)]
        if not members:
            raise next(
                (answer for answer in answers.values() if isinstance(answer, EtcdError)),
                EtcdUnavailable("no member of etcd answers"),
            )
        self.quota = min((status.quota for status in members if status.quota), default=self.quota)
        self.alarm = any("NOSPACE" in error for status in members for error in status.errors)
        size = Size(
            time.monotonic(),
            max(s.db_size_in_use for s in members),
            max(s.db_size for s in members),
            max(s.revision for s in members),
        )
        self.add(size)
        return size

    def add(self, size: Size) -> None:
        """Adds a size that was measured."""
        self.sizes.append(size)
        while size.at - self.sizes[0].at > self._memory:
            self.sizes.popleft()

    @property
    def in_use(self) -> float:
        """What is in use, as a share of the quota; 0 before the first measurement."""
        return self.sizes[-1].in_use / self.quota if self.sizes else 0.0

    @property
    def file(self) -> float:
        """The size of the file, as a share of the quota: at 1.0 etcd raises its alarm."""
        return self.sizes[-1].file / self.quota if self.sizes else 0.0

    @property
    def growth(self) -> float:
        """The fastest growth of what is in use, in bytes a second.

        It is taken over steps of _SPAN, so that what a compaction frees does not hide it.
        """
        fastest, begin = 0.0, 0
        for end, size in enumerate(self.sizes):
            while begin < end and size.at - self.sizes[begin + 1].at >= _SPAN:
                begin += 1
            since = self.sizes[begin]
            if size.at - since.at >= _SPAN:
                fastest = max(fastest, (size.in_use - since.in_use) / (size.at - since.at))
        return fastest

    def expected(self, seconds: float) -> float:
        """What will be in use in ``seconds``, as a share of the quota.

        It assumes that nothing is freed until then, and the fastest growth.
        """
        return self.in_use + min(self.growth * seconds / self.quota, _MOST_GROWTH)

    def revision_before(self, seconds: float) -> int:
        """The newest revision that is at least ``seconds`` old; 0 where none is known."""
        if not self.sizes:
            return 0
        before = self.sizes[-1].at - seconds
        return next((size.revision for size in reversed(self.sizes) if size.at <= before), 0)
