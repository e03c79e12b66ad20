"""The audit of commands that change etcd themselves, without the API."""

from __future__ import annotations

import argparse
import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from babygun.errors import Conflict, NotFound, SettingsError
from babygun.store import Store
from babygun.store.audit.entries import AuditEntry, Recording, new_entry, recorded

# What an entry quotes of a command line, where it is there.
_QUOTED = ("name", "scope", "rate", "weight", "recipients_per_day", "grace", "end_tokens")
# Nothing was changed then.
_REFUSALS = (SettingsError, NotFound, Conflict)


@asynccontextmanager
async def by_command(
    store: Store, action: str, arguments: argparse.Namespace | None = None
) -> AsyncIterator[Recording]:
    """An audit entry around a change; see :func:`babygun.store.audit.entries.recorded`.

    ``action``: as the API calls the same change. A command that was refused has no entry.
    """
    async with recorded(store, command_entry(action, arguments)) as recording:
        try:
            yield recording
        except _REFUSALS:
            recording.refused = True
            raise


def command_entry(action: str, arguments: argparse.Namespace | None = None) -> AuditEntry:
    """An entry of a command that begins now. Its target is the id on the command line."""
    asked = {name: getattr(arguments, name, None) for name in _QUOTED}
    return new_entry(
        action,
        by=_operator(),
        via="command",
        target=getattr(arguments, "id", None) or "",
        details={
            name: ", ".join(value) if isinstance(value, list) else str(value)
            for name, value in asked.items()
            if value is not None
        },
    )


def _operator() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
