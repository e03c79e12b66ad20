"""The disk of an etcd member is full. A small tmpfs is that disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.stage import Member, Stage

_SIZE = 2 << 30  # bytes; memory is taken only as it is used


class FullDisk(Fault):
    """The tmpfs shrinks to what is used, and grows again at the healing."""

    name = "etcd-disk-full"
    sentence = (
        "The disk of an etcd member has no free block. etcd ends at the next write that needs one,"
        " and starts again at the healing."
    )
    seconds = (3.0, 6.0)
    touches = frozenset({"etcd"})

    def possible(self, stage: Stage) -> str:
        if os.geteuid() != 0 or not shutil.which("mount"):
            return "it needs root, to mount a tmpfs"
        place = stage.folder / "tmpfs-try"
        place.mkdir(exist_ok=True)
        tried = _run("mount", "-t", "tmpfs", "babygun-chaos", place)
        if not tried:
            _run("umount", place)
        return f"a tmpfs can't be mounted: {tried}" if tried else ""

    def prepare(self, stage: Stage) -> None:
        member = _member(stage)
        if failed := _run(
            "mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "babygun-chaos", member.data
        ):
            raise OSError(f"{member.data}: {failed}")
        stage.exits.callback(_run, "umount", "--lazy", member.data)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        member = _member(stage)
        found = os.statvfs(member.data)
        _resize(member, (found.f_blocks - found.f_bfree) * found.f_frsize)

        async def heal() -> None:
            _resize(member, _SIZE)
            await member.part.start()

        return Broken(member.part.name, heal)


def _member(stage: Stage) -> Member:
    return stage.members[0]


def _resize(member: Member, size: int) -> None:
    if failed := _run("mount", "-o", f"remount,size={size}", member.data):
        raise OSError(f"{member.data}: {failed}")


def _run(*command: str | Path) -> str:
    """What went wrong, or empty."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


FULL_DISK = FullDisk()
