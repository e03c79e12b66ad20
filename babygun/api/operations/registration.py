"""This API process's own key under ``apis/``: that it is there, and how many e-mails it has taken."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from babygun import __version__
from babygun.errors import EtcdError
from babygun.etcd import Session
from babygun.runtime.clock import utc_now
from babygun.runtime.identifiers import new_api_id
from babygun.runtime.logs import get_logger
from babygun.store import Store, codec
from babygun.store.records import ApiProcess

log = get_logger("api")

_LOOK_AGAIN = 1.0  # s, after etcd refused
_LAST_WORD = 1.0  # s, that the last check-in and the lease's end may take: a stop does not wait for an etcd that is away


class Registration:
    """Run :meth:`run` as a task, and :meth:`leave` at the end. Nothing depends on it but what people see."""

    def __init__(self, store: Store, accepted: Callable[[], int]) -> None:
        """``accepted``: e-mails since the start."""
        self._store, self._accepted = store, accepted
        self._hostname, self._started = socket.gethostname(), utc_now()
        self._session: Session | None = None
        self.api_id = ""

    async def run(self) -> None:
        """Registers and checks in every third of the lease; again under a new id when that is lost."""
        while True:
            session = Session(self._store.client, int(self._store.settings.lease_ttl))
            try:
                await session.start()
            except EtcdError as error:
                log.debug(
                    "not registered", error=str(error)
                )  # others say loudly enough that etcd is away
                await asyncio.sleep(_LOOK_AGAIN)
                continue
            self._session, self.api_id = session, new_api_id(self._hostname)
            keep_alive = asyncio.create_task(session.run(), name="api session")
            try:
                while not session.lost.is_set():
                    try:
                        await self._check_in(session)
                    except EtcdError as error:
                        log.warning("check-in failed", api_id=self.api_id, error=str(error))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._store.settings.lease_ttl / 3):
                            await session.lost.wait()
            finally:
                keep_alive.cancel()
                await asyncio.gather(keep_alive, return_exceptions=True)

    async def leave(self) -> None:
        """Tells the last count, and gives the lease back."""
        session = self._session
        if session is None or not session.trusted:
            return
        with suppress(EtcdError, TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                await self._check_in(session)
                await session.close(revoke=True)

    async def _check_in(self, session: Session) -> None:
        process = ApiProcess(
            self.api_id,
            os.getpid(),
            self._hostname,
            self._started,
            utc_now(),
            __version__,
            self._accepted(),
        )
        await self._store.client.put(
            self._store.keys.api(self.api_id), codec.encode_state(process), session.lease_id
        )
