"""What is there while nothing happens: keys, leases, and what each process holds."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import grpc
from aetcd import rpc

from babygun.etcd import EtcdClient
from babygun.store.keys import JobRef, range_end
from scripts.chaos.history import KEYS, Footprint, Leftovers
from scripts.chaos.parts import Part
from scripts.chaos.stage import Stage

_PAGE = 5000  # keys of one read
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


async def leftovers(stage: Stage, moment: Literal["before", "after"]) -> Leftovers:
    """Reads it all. Raises EtcdError if etcd does not answer."""
    keys, on_leases = await _keys(stage.etcd)
    leases = {lease: on_leases[lease] for lease in await _leases(stage.members[0].endpoint)}
    found = await asyncio.to_thread(footprints, stage.parts)
    now = stage.recorder.now()
    return Leftovers(now, moment, tuple(keys), leases, tuple(found))


async def unfinished(etcd: EtcdClient) -> dict[JobRef, str]:
    """Each queue of an e-mail that is not final, and where it is: ready, waiting or sending."""
    found: dict[JobRef, str] = {}
    for prefix in (KEYS.jobs, KEYS.waiting, KEYS.owners):
        for kv in (await etcd.range(prefix, range_end(prefix), keys_only=True)).kvs:
            if prefix == KEYS.jobs:
                found[KEYS.parse_job(kv.key)] = "ready"
            elif prefix == KEYS.waiting:
                due, ref = KEYS.parse_not_before(kv.key)
                found[ref] = f"waiting until {due:%Y-%m-%d %H:%M:%S}"
            else:
                found[KEYS.parse_owner(kv.key)] = "sending"
    return found


async def count(etcd: EtcdClient, prefix: bytes) -> int:
    """How many keys there are."""
    return (await etcd.range(prefix, range_end(prefix), limit=1, keys_only=True)).count


async def count_notices(etcd: EtcdClient) -> int:
    """How many events are not sent yet."""
    return sum([await count(etcd, prefix) for prefix in (KEYS.notices, KEYS.due_notices)])


async def _keys(etcd: EtcdClient) -> tuple[list[bytes], Counter[int]]:
    """All keys at one revision, and how many of them hang on each lease."""
    start, end, revision = KEYS.prefix, range_end(KEYS.prefix), 0
    keys: list[bytes] = []
    leases: Counter[int] = Counter()
    while True:
        found = await etcd.range(start, end, limit=_PAGE, revision=revision, keys_only=True)
        revision = revision or found.revision
        keys += (kv.key for kv in found.kvs)
        leases.update(kv.lease for kv in found.kvs if kv.lease)
        if not found.more:
            return keys, leases
        start = found.kvs[-1].key + b"\0"


async def _leases(endpoint: str) -> list[int]:
    async with grpc.aio.insecure_channel(endpoint.removeprefix("http://")) as channel:
        answer = await rpc.LeaseStub(channel).LeaseLeases(rpc.LeaseLeasesRequest(), timeout=10)
        return [lease.ID for lease in answer.leases]


def footprints(parts: Sequence[Part]) -> list[Footprint]:
    """What each process that runs holds, from /proc."""
    found = []
    for part in parts:
        with suppress(OSError):
            folder = Path(f"/proc/{part.pid}")
            links = [_link(each) for each in (folder / "fd").iterdir()]
            resident, shared = map(int, (folder / "statm").read_text().split()[1:3])
            found.append(
                Footprint(
                    part.role,
                    part.number,
                    part.pid,
                    sum(link.startswith("socket:") for link in links),
                    len(links),
                    resident * _PAGE_SIZE,
                    (resident - shared) * _PAGE_SIZE,
                )
            )
    return found


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
