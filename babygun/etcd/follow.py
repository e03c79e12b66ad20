"""Follow a range: read it, then watch it from there, and read it again whenever the watch breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from babygun.errors import Compacted, EtcdError
from babygun.etcd.client import EtcdClient
from babygun.etcd.watch import WatchBatch, watch
from babygun.runtime.logs import get_logger

log = get_logger("etcd")

PAUSE = 0.5  # s, before a range is read again after etcd refused


def _nothing() -> None:
    pass


async def follow(
    client: EtcdClient,
    start: bytes,
    end: bytes,
    *,
    what: str,
    read: Callable[[], Awaitable[int]],
    changed: Callable[[WatchBatch], Awaitable[None]],
    lost: Callable[[], None] = _nothing,
    deletes: bool = True,
    pause: float = PAUSE,
) -> NoReturn:
    """Follow the keys in [start, end) until cancelled.

    ``read`` reads the range and returns the revision that it read at. ``changed`` gets every batch
    of later events, in order, without a gap. ``lost`` is called when the watch has ended; then the
    range is read again: at once where etcd has compacted the history, after ``pause`` seconds
    where etcd refused. ``what`` names the range in the log. ``deletes``: whether deletes are told.
    An exception other than EtcdError, from ``read`` or ``changed``, ends it.
    """
    while True:
        try:
            revision = await read()
            async with watch(client, start, end, revision=revision + 1, deletes=deletes) as batches:
                async for batch in batches:
                    await changed(batch)
        except Compacted:
            log.info("history compacted, reading again", what=what)
        except EtcdError as error:
            log.warning("not followed", what=what, error=str(error))
            await asyncio.sleep(pause)
        finally:
            lost()
