"""The keys of return paths (:mod:`babygun.email.return_path`)."""

from __future__ import annotations

from babygun.email.return_path import ReturnPath
from babygun.store.store import Store


class ReturnPathKeys:
    """Run :meth:`run` as a task: it follows the keys. ``known``: they were all read once.

    Until then :meth:`read` finds nothing, so a server is asked to come again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.known = False

    def read(self, local_part: str) -> ReturnPath | None:
        """What a return path's local part says. None: it is not ours, or its key is gone."""
        raise NotImplementedError

    async def run(self) -> None:
        """Follows the keys until cancelled."""
        raise NotImplementedError
