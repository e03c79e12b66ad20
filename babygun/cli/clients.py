"""``babygun clients create|list|show|change|rotate|delete``: API clients, for operators.

It uses etcd and not the API, since it makes the first credentials.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec.structs import replace

from babygun.cli.audited import by_command
from babygun.cli.local import hint_to_start_etcd, load_settings
from babygun.cli.output import count_of, duration, printable, table
from babygun.errors import BabygunError, EtcdUnavailable, NotFound, SettingsError
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.client_rules import MAX_WEIGHT, client_problems
from babygun.store.access.client_secrets import still_taken
from babygun.store.access.clients import (
    GRACE,
    MAX_GRACE,
    change_client,
    create_client,
    delete_client,
    get_client,
    list_clients,
    rotate_secret,
)
from babygun.store.access.usage import get_usage
from babygun.store.records import SCOPES, USUAL_SCOPES, Client

_NO_LIMIT = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    create = actions.add_parser(
        "create", help="create a client; prints its id and secret, which can't be printed again"
    )
    create.add_argument("name", help="for people, e.g. the application's name")
    create.add_argument("--id", help="its id (default: a random one)")
    create.add_argument(
        "--force", action="store_true", help="although another client has this name"
    )
    _add_fields(create, scopes=f"default: {', '.join(USUAL_SCOPES)}")
    actions.add_parser("list", help="list the clients")
    _action(actions, "show", "show one, and what it has used today")
    change = _action(actions, "change", "change one; an option that is left out changes nothing")
    change.add_argument("--name", help="for people, e.g. the application's name")
    _add_fields(change, scopes="these replace all scopes that it has")
    rotate = _action(actions, "rotate", "give one a new secret, which can't be printed again")
    rotate.add_argument(
        "--grace",
        type=duration,
        default=float(GRACE),
        help="how long the old secret still works: 0 to 30d (default: 1d); 0 ends all old ones",
    )
    rotate.add_argument(
        "--end-tokens",
        action="store_true",
        help="also end all its tokens, e.g. after a leak (then give --grace 0, too)",
    )
    _action(actions, "delete", "delete one; its tokens end at once, its e-mails stay")


def _action(actions: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
    parser.add_argument("id", help="its id: babygun clients list")
    return parser


def _add_fields(parser: argparse.ArgumentParser, *, scopes: str) -> None:
    parser.add_argument(
        "--scope", action="append", choices=SCOPES, help=f"a right; repeat for several ({scopes})"
    )
    parser.add_argument(
        "--rate",
        type=_limit(float),
        help="e-mails a second that all API processes together accept, or none for no limit",
    )
    parser.add_argument(
        "--recipients-per-day",
        type=_limit(int),
        metavar="RECIPIENTS",
        help="recipients of the e-mails that are accepted on one day (UTC), or none for no limit",
    )
    parser.add_argument(
        "--weight",
        type=int,
        help=f"its share of a worker's sends beside other clients: 1 to {MAX_WEIGHT} (first: 1)",
    )


def _limit(kind: type[int] | type[float]) -> Any:
    def parse(text: str) -> int | float | str:
        return text if text == _NO_LIMIT else kind(text)

    parse.__name__ = "number"  # in argparse's message
    return parse


def run(arguments: argparse.Namespace) -> int:
    loaded = load_settings()
    try:
        return asyncio.run(_run(arguments, loaded))
    except EtcdUnavailable as error:
        hint = hint_to_start_etcd()
        raise BabygunError(f"{error}; {hint}" if hint else str(error)) from None


async def _run(arguments: argparse.Namespace, loaded: Settings) -> int:
    async with Store(loaded) as store:
        match arguments.action:
            case "list":
                print(_table(await list_clients(store)))
            case "show":
                await _show(store, arguments.id)
            case action:
                call, change = _CHANGES[action]
                async with by_command(store, call, arguments) as recording:
                    recording.add(target=await change(store, arguments))
    return 0


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of a client that the command line gives. Raises SettingsError."""
    given: dict[str, Any] = {
        field: None if value == _NO_LIMIT else value
        for field in ("name", "rate", "recipients_per_day", "weight")
        if (value := getattr(arguments, field)) is not None
    }
    client_id = arguments.id if arguments.action == "create" else None
    for _, fault in client_problems(client_id=client_id, **given):
        raise SettingsError(fault)
    if "name" in given:
        given["name"] = given["name"].strip()
    if arguments.scope:
        given["scopes"] = tuple(dict.fromkeys(arguments.scope))
    return given


async def _create(store: Store, arguments: argparse.Namespace) -> str:
    given = {"scopes": USUAL_SCOPES, **_given(arguments)}
    same = [one.id for one in await list_clients(store) if one.name == given["name"]]
    if same and not arguments.force:
        raise SettingsError(
            f"there is a client named {given['name']!r} already ({', '.join(same)}): give another"
            " name, or --force to create a second one of this name;"
            f" for a new secret: babygun clients rotate {same[0]}"
        )
    client, secret = await create_client(store, client_id=arguments.id, **given)
    print(f"client_id      {client.id}\nclient_secret  {secret}")
    return client.id


async def _show(store: Store, client_id: str) -> None:
    client = await get_client(store, client_id)
    if client is None:
        raise NotFound(f"there is no client {client_id!r}")
    usage = await get_usage(store, client.identity)
    today = usage.recipients if usage and usage.day == utc_now().date() else 0
    per_day = client.recipients_per_day
    rows = [
        ("name", client.name),
        ("scopes", ", ".join(client.scopes)),
        ("rate", _rate(client) if client.rate else "no limit"),
        ("recipients per day", f"{per_day:,}" if per_day else "no limit"),
        ("recipients today", f"{today:,}"),
        ("weight", str(client.weight)),
        ("created", f"{client.created_at:%Y-%m-%d %H:%M}"),
    ]
    for one in still_taken(client, utc_now()):
        rows.append(("a previous secret works until", f"{one.until:%Y-%m-%d %H:%M} UTC"))
    print(table(("CLIENT", client.id), rows))


async def _change(store: Store, arguments: argparse.Namespace) -> str:
    given = _given(arguments)
    if not given:
        raise SettingsError("say what to change: --name, --scope, --rate, …")
    client = await change_client(store, arguments.id, lambda before: replace(before, **given))
    print(_table([client]))
    return client.id


async def _rotate(store: Store, arguments: argparse.Namespace) -> str:
    if not 0 <= arguments.grace <= MAX_GRACE:
        raise SettingsError("the grace must be from 0 to 30d")
    client, secret = await rotate_secret(
        store, arguments.id, grace=arguments.grace, end_tokens=arguments.end_tokens
    )
    print(f"client_id      {client.id}\nclient_secret  {secret}")
    if client.previous:
        print(f"the old secret works until {client.previous.until:%Y-%m-%d %H:%M} UTC")
    for one in client.earlier:
        print(f"one before that works until {one.until:%Y-%m-%d %H:%M} UTC")
    if arguments.end_tokens:
        print("all its tokens are ended")
    return client.id


async def _delete(store: Store, arguments: argparse.Namespace) -> str:
    client_id: str = arguments.id
    deleted = await delete_client(store, client_id)
    if deleted is None:
        raise NotFound(f"there is no client {client_id!r}")
    print(
        f"deleted client {client_id} ({printable(deleted.name)}) and"
        f" {count_of(deleted.webhooks, 'webhook')}. Its tokens are refused from now on."
        " Its suppressions and the domains that only it held are deleted. Its e-mails stay"
    )
    return client_id


# By action: the API's name of the same change, and what makes it and returns the client's id.
_CHANGES: dict[str, tuple[str, Callable[[Store, argparse.Namespace], Awaitable[str]]]] = {
    "create": ("createClient", _create),
    "change": ("changeClient", _change),
    "rotate": ("rotateClientSecret", _rotate),
    "delete": ("deleteClient", _delete),
}


def _table(clients: Sequence[Client]) -> str:
    if not clients:
        return "no clients yet: babygun clients create NAME"
    rows = [
        (
            client.id,
            client.name,
            ",".join(client.scopes),
            _rate(client),
            str(client.recipients_per_day or "-"),
            str(client.weight),
            f"{client.created_at:%Y-%m-%d %H:%M}",
        )
        for client in clients
    ]
    return table(("ID", "NAME", "SCOPES", "RATE", "PER DAY", "WEIGHT", "CREATED"), rows)


def _rate(client: Client) -> str:
    return f"{client.rate:g}/s" if client.rate else "-"
