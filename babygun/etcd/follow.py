"""Follows a range of keys: reads it, watches it, and reads it again when the watch breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from babygun.errors import Compacted, EtcdError
from babygun.etcd.client import EtcdClient
from babygun.etcd.watch import Watch, WatchBatch
from babygun.runtime.logs import get_logger

log = get_logger("etcd")

PAUSE = 0.5  # s, before a range is read again after an error


def _ignore(_: Any) -> None:
    pass


async def follow(
    client: EtcdClient,
    start: bytes,
    end: bytes,
    *,
    what: str,
    read: Callable[[], Awaitable[int]],
    changed: Callable[[WatchBatch], Awaitable[None]],
    lost: Callable[[EtcdError], None] = _ignore,
    deletes: bool = True,
) -> NoReturn:
    """Follows the keys in [start, end) until cancelled.

    ``read`` reads the range and returns the revision that it read at. ``changed`` then gets every
    later event, in order and without a gap; no deletes where ``deletes`` is false. When etcd has
    compacted the history, the range is read again at once; after another EtcdError, after PAUSE.
    ``lost`` gets each error, also one of ``read``. ``what`` names the range in the log.
    An exception other than EtcdError, from ``read`` or ``changed``, ends it.
    """

    async def once() -> None:
        revision = await read()
        async with Watch(client, start, end, revision=revision + 1, deletes=deletes) as batches:
            async for batch in batches:
                await changed(batch)

    await keep_following(what, once, lost)


async def keep_following(
    what: str, once: Callable[[], Awaitable[None]], lost: Callable[[EtcdError], None] = _ignore
) -> NoReturn:
    """Calls ``once``, which reads and watches, again whenever it raises an EtcdError.

    For a user with several watches; :func:`follow` follows one range.
    """
    while True:
        try:
            await once()
        except Compacted as error:
            log.info("range read again", what=what)
            lost(error)
        except EtcdError as error:
            log.warning("range not followed", what=what, error=str(error))
            lost(error)
            await asyncio.sleep(PAUSE)
