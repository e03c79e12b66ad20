"""Samples of a stage while mail flows: memory of each process, and etcd's size."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from babygun.errors import EtcdError
from babygun.etcd.client import Status
from scripts.chaos.history import KEYS, Sampled
from scripts.chaos.leftovers import count, footprints
from scripts.chaos.stage import Stage

_MIB = 1 << 20


async def sample(stage: Stage) -> Sampled:
    """Takes one."""
    found = await asyncio.to_thread(footprints, stage.parts)
    file = in_use = keys = unfinished = 0
    with suppress(EtcdError):
        for status in (await stage.etcd.statuses(timeout=2.0)).values():
            if isinstance(status, Status):
                file, in_use = max(file, status.db_size), max(in_use, status.db_size_in_use)
        keys = await count(stage.etcd, KEYS.prefix)
        unfinished = await count(stage.etcd, KEYS.jobs) + await count(stage.etcd, KEYS.waiting)
    return Sampled(stage.recorder.now(), tuple(found), file, in_use, keys, unfinished)


def line(sampled: Sampled) -> str:
    """A sample for a person who watches. Memory is that without pages of files."""
    memory = ", ".join(
        f"{each.role} {each.number} {each.own / _MIB:.0f}" for each in sampled.footprints
    )
    return (
        f"memory in MiB: {memory}; etcd's file {sampled.file / _MIB:.0f} MiB,"
        f" in use {sampled.in_use / _MIB:.0f}, keys {sampled.keys:,}"
    )
