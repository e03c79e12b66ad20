"""``babygun dev``: runs everything on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from babygun.cli.local import START_ONE, dev_json
from babygun.dev import command
from babygun.dev.etcd.members import CLIENT_PORT, SIZES
from babygun.dev.listeners import API_PORT
from babygun.dev.mailbox.server import SMTP_PORT
from babygun.dev.options import Options, RelayAddress
from babygun.errors import BabygunError, SettingsError
from babygun.routing.routes import load_routes
from babygun.runtime import settings

MOST_WORKERS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, help=f"the API's port (default: {API_PORT} or the next free one)"
    )
    parser.add_argument(
        "--smtp-port",
        type=int,
        help=f"the mailbox's port for mail (default: {SMTP_PORT} or the next free one;"
        " 0: any free one, for its view and for bounces too)",
    )
    parser.add_argument(
        "--etcd-port",
        type=int,
        help="the first etcd member's port for clients"
        f" (default: {CLIENT_PORT} or the next free one)",
    )
    parser.add_argument(
        "--etcd-members",
        type=_etcd_members,
        metavar="|".join(map(str, SIZES)),
        help="number of etcd members (default: what the data folder has, else 1)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(".babygun"),
        help="folder of the data and of dev.json (default: .babygun)",
    )
    parser.add_argument(
        "--tls",
        action=argparse.BooleanOptionalAction,
        help="serve the API by https, with a certificate made here"
        " (default: only if other machines can reach the API)",
    )
    parser.add_argument(
        "--workers", type=_workers, metavar="N", default=1, help="number of workers (default: 1)"
    )
    parser.add_argument(
        "--info",
        nargs="?",
        const="",
        metavar="NAME",
        help="start nothing: print what runs in the folder, or one value of it (api_url)",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.info is not None:
        return _info(arguments.data_dir, arguments.info)
    loaded = settings.load()
    # A wrong relay is refused here, before anything starts.
    relays = [
        RelayAddress(relay.name, relay.server.host, relay.server.port)
        for relay in load_routes(loaded).destinations.values()
        if relay.server
    ]
    options = Options(
        api_port=arguments.port,
        smtp_port=arguments.smtp_port,
        etcd_port=arguments.etcd_port,
        etcd_members=arguments.etcd_members,
        data_dir=arguments.data_dir,
        tls=arguments.tls,
        workers=arguments.workers,
    )
    return command.run(loaded, options, relays)


def _info(folder: Path, name: str) -> int:
    """Prints dev.json of what runs there: a line for each member, or one member's value."""
    found = dev_json(folder / "dev.json")
    if not found:
        raise BabygunError(f"nothing runs in {folder}: {START_ONE}")
    if name and name not in found:
        raise SettingsError(f"there is no {name}: it is one of {', '.join(found)}")
    for each in [name] if name else found:
        value = "" if found[each] is None else found[each]
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        print(text if name else f"{each:16} {text}")
    return 0


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_WORKERS}")
    return int(text)


def _etcd_members(text: str) -> int:
    if text not in map(str, SIZES):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(map(str, SIZES))}")
    return int(text)
