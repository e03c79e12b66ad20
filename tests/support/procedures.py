"""The commands of the documents, as their readers would run them."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from textwrap import dedent

from babygun.dev.etcd.binary import find_etcd
from tests.support.needs import missing
from tests.support.paths import ROOT

_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def shell_blocks(text: str) -> list[str]:
    """The blocks of shell commands in a piece of Markdown."""
    return [dedent(block) for _, block in _BLOCK.findall(text)]


def sections(page: Path) -> dict[str, list[str]]:
    """The blocks of shell commands of a page, by the heading above them."""
    parts = re.split(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    found = {head: shell_blocks(body) for head, body in zip(parts[1::2], parts[2::2], strict=True)}
    return {head: blocks for head, blocks in found.items() if blocks}


def etcd_programs() -> str:
    """A PATH with etcd's programs and our scripts before all else."""
    found = find_etcd()
    programs = [found.program(name) for name in ("etcdctl", "etcdutl")] if found else [None]
    folders = [str(program.parent) for program in programs if program]
    if len(folders) < 2:
        missing("needs etcdctl and etcdutl")
    return os.pathsep.join([*folders, str(ROOT / "scripts"), os.environ["PATH"]])


async def bash(
    script: str,
    variables: dict[str, str] | None = None,
    *,
    folder: Path = ROOT,
    within: float = 120.0,
) -> str:
    """What a script prints. An AssertionError with what it said where a command fails."""
    environment = {name: value for name, value in os.environ.items() if "BABYGUN" not in name}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        env=environment | (variables or {"PATH": etcd_programs()}),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(within):
        said = (await process.communicate())[0].decode()
    assert process.returncode == 0, f"{script}\n{said}"
    return said
