"""``babygun access``: makes etcd's users and roles, and enables authentication, as etcd's root."""

from __future__ import annotations

import argparse
import asyncio

from msgspec.structs import replace

from babygun.cli.audited import command_entry
from babygun.cli.local import load_settings
from babygun.etcd import access
from babygun.store import Store
from babygun.store.access.rights import RIGHTS, grants
from babygun.store.audit.entries import write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-enable",
        action="store_true",
        help="only make users and roles; leave authentication as it is",
    )


def run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_run(enable=not arguments.no_enable))


async def _run(*, enable: bool) -> int:
    changed = False
    async with Store(load_settings()) as store:
        roles = {
            f"babygun-{role}": [
                access.Permission(start, end, right == "readwrite")
                for start, end, right in grants(store.keys, role)
            ]
            for role in RIGHTS
        }
        async for line in access.set_roles(store.client, roles):
            changed = True
            print(line, flush=True)
        if changed:  # once authentication is on, this user may have no right to write it
            await write(store, replace(command_entry("setEtcdAccess"), outcome="done"))
        if enable and await access.enable(store.client):
            changed = True
            print("authentication: enabled")
    if not changed:
        print("users, roles and permissions are as they should be")
    return 0
