"""``babygun emails change``: another time, other tags, other metadata."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from babygun.cli.output import status_line
from babygun.cli.remote import Remote
from babygun.errors import SettingsError


def add_change(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "change",
        help="change when an e-mail is sent, its tags or its metadata",
        description="Changes an e-mail that is not final. Its time can be changed while it waits"
        " for its first try. New tags or metadata replace all old ones.",
    )
    parser.add_argument("id", help="id of one e-mail")
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="send at this time, e.g. 2030-01-31T08:00:00Z, at most 366 days ahead; or: now",
    )
    tags = parser.add_mutually_exclusive_group()
    tags.add_argument("--tag", action="append", metavar="TAG", help="repeat for several")
    tags.add_argument("--no-tags", action="store_true", help="delete its tags")
    metadata = parser.add_mutually_exclusive_group()
    metadata.add_argument(
        "--metadata", action="append", metavar="NAME=VALUE", help="repeat for several"
    )
    metadata.add_argument("--no-metadata", action="store_true", help="delete its metadata")


async def change(remote: Remote, arguments: argparse.Namespace) -> int:
    """Prints the status, and when it is sent."""
    path = f"/emails/{quote(arguments.id, safe='')}"
    email = await remote.call("PATCH", path, json=_request(arguments))
    print(status_line(email))
    if email["not_before"]:
        print(f"to be sent at {email['not_before']}")
    return 0


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    at = "1970-01-01T00:00:00Z" if arguments.at == "now" else arguments.at
    given = {
        "send_at": at,
        "tags": [] if arguments.no_tags else arguments.tag,
        "metadata": {} if arguments.no_metadata else _metadata(arguments.metadata),
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    if not wanted:
        raise SettingsError("name what to change: --at, --tag, --metadata, …")
    return wanted


def _metadata(texts: list[str] | None) -> dict[str, str] | None:
    if texts is None:
        return None
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise SettingsError(f"--metadata {wrong[0]}: give a name and a value, as order=4711")
    return {name: value for name, _, value in pairs}
