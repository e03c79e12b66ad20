"""The keys of return paths (:mod:`babygun.email.return_path`)."""

from __future__ import annotations

import time

from babygun.email import return_path
from babygun.email.return_path import ReturnPath
from babygun.store.secret_keys import SecretKeys
from babygun.store.store import Store

_LOOK_INTERVAL = 1.0  # s, between two readings that strangers can cause


class ReturnPathKeys(SecretKeys):
    """``return-path-keys/``: kept as long as something may come back.

    The key of an e-mail is that of its acceptance (:meth:`of_time`). So all tries of it have the
    same return path, and a server that greylists knows them by it.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(
            store,
            store.keys.return_path_keys,
            what="return path keys",
            secret_bytes=return_path.SECRET_BYTES,
            retention=store.settings.return_path_retention,
        )
        self._look_at = 0.0

    async def look_again(self) -> None:
        """Reads the keys, once a second at most: one may be newer than what is followed.

        Raises EtcdError.
        """
        if time.monotonic() >= self._look_at:
            await self._read_all(self._store)
            self._look_at = time.monotonic() + _LOOK_INTERVAL

    def read(self, local_part: str) -> ReturnPath | None:
        """What a return path's local part says. None: it is not ours, or its key is gone.

        Until the keys are ``known``, that says nothing: a server is asked to come again.
        """
        return return_path.read(local_part, self.secrets)
