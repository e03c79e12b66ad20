"""``babygun client create|list|delete``: API clients, for operators.

It uses etcd and not the API, since it makes the first credentials.
"""

from __future__ import annotations

import argparse
import asyncio

from babygun.cli.local import hint_to_start_etcd, load_settings
from babygun.cli.output import table
from babygun.errors import BabygunError, EtcdUnavailable, NotFound, SettingsError
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import client_problems, create_client, delete_client, list_clients
from babygun.store.records import SCOPES, USUAL_SCOPES, Client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    create = actions.add_parser(
        "create", help="create a client; prints its id and secret, which can't be printed again"
    )
    create.add_argument("name", help="for people, e.g. the application's name")
    create.add_argument("--id", help="its id (default: a random one)")
    create.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        help=f"a right; repeat for several (default: {', '.join(USUAL_SCOPES)})",
    )
    create.add_argument(
        "--rate",
        type=float,
        help="e-mails per second that each API process accepts (default: no limit)",
    )
    create.add_argument(
        "--weight",
        type=int,
        default=1,
        help="its share of a worker's sends beside other clients: 1 to 100 (default: 1)",
    )
    actions.add_parser("list", help="list the clients")
    delete = actions.add_parser(
        "delete", help="delete a client; its tokens end at once, its e-mails stay"
    )
    delete.add_argument("id")


def run(arguments: argparse.Namespace) -> int:
    loaded = load_settings()
    try:
        return asyncio.run(_run(arguments, loaded))
    except EtcdUnavailable as error:
        hint = hint_to_start_etcd()
        raise BabygunError(f"{error}; {hint}" if hint else str(error)) from None


async def _run(arguments: argparse.Namespace, loaded: Settings) -> int:
    async with Store(loaded) as store:
        if arguments.action == "create":
            for _, fault in client_problems(
                arguments.name, arguments.id, arguments.rate, arguments.weight
            ):
                raise SettingsError(fault)
            scopes = tuple(dict.fromkeys(arguments.scope or USUAL_SCOPES))
            client, secret = await create_client(
                store,
                name=arguments.name.strip(),
                scopes=scopes,
                rate=arguments.rate,
                weight=arguments.weight,
                client_id=arguments.id,
            )
            print(f"client_id      {client.id}\nclient_secret  {secret}")
        elif arguments.action == "list":
            print(_table(await list_clients(store)))
        elif not await delete_client(store, arguments.id):
            raise NotFound(f"there is no client {arguments.id!r}")
    return 0


def _table(clients: list[Client]) -> str:
    if not clients:
        return "no clients yet: babygun client create NAME"
    rows = [
        (
            client.id,
            client.name,
            ",".join(client.scopes),
            f"{client.rate:g}/s" if client.rate else "-",
            str(client.weight),
            f"{client.created_at:%Y-%m-%d %H:%M}",
        )
        for client in clients
    ]
    return table(("ID", "NAME", "SCOPES", "RATE", "WEIGHT", "CREATED"), rows)
